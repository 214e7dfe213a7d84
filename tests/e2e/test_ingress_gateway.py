"""`bartizan gateway` as a process at the edge, from files: curl comes with TLS, names and HTTP/2; a pod's inbound recipe stands behind."""

import json
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from sidecar.model.edge import Edge, EdgeListener
from sidecar.model.egress import Outbound
from sidecar.model.route import Match, PathMatch, Redirect
from sidecar.model.service import Backend, Endpoint, Service
from sidecar.model.snapshot import Snapshot, Workload, render_snapshot
from sidecar.proxy.inbound import serve_inbound
from tests.architecture.sources import ROOT
from tests.helpers import pki
from tests.helpers.edge import BELIEVES, GATEWAY, route, tls_host
from tests.helpers.mesh import APP, http_app, meshed, read_until, root
from tests.helpers.pki import ORDERS
from tests.helpers.runtime import Redirected, rules
from tests.helpers.sockets import free_ports

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is what comes in")
HOSTS = ("www.example.com", "api.example.com")


@dataclass
class Gate:
    http: int
    https: int
    health: int
    metrics: int
    folder: Path
    process: trio.Process

    async def curl(self, url: str, *options: str, port: int = 0) -> tuple[int, str, int]:
        """Status, body, and curl's own exit status."""
        port = port or (self.https if url.startswith("https") else self.http)
        where = ["--connect-to", f"::127.0.0.1:{port}", "--cacert", f"{self.folder}/public.pem"]
        with trio.fail_after(30):
            done = await trio.run_process(
                ["curl", "-sS", "-w", "\n%{http_code}", *where, *options, url], capture_stdout=True, capture_stderr=True, check=False)
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status), body, done.returncode

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log.jsonl").read_text().splitlines()]


def snapshot(pod: int, *hosts: str) -> bytes:
    service = Service("orders.shop", 80, endpoints=(Endpoint("127.0.0.1", pod, ORDERS),))
    return render_snapshot(Snapshot(
        Workload(GATEWAY, "bartizan-system", addresses=("192.0.2.1",)), outbound=Outbound(services=(service,)),
        edge=Edge((EdgeListener(80), EdgeListener(443, tuple(map(tls_host, hosts)))), (
            route("web", ports=(443,), backends=(Backend("orders.shop", 80),), matches=(Match(PathMatch("/app")),)),
            route("to-https", ports=(80,), redirect=Redirect(scheme="https", status=308)),
        )),
    ))


@asynccontextmanager
async def gate(folder: Path, seen: list[bytes]) -> AsyncIterator[Gate]:
    http, https, health, metrics, pod = free_ports(5)
    holder = pki.issue(root(), pki.uri(GATEWAY))
    public = pki.pem([root("public").certificate])
    for name, text in (("chain", holder.chain_pem), ("key", holder.key_pem), ("roots", pki.pem([root().certificate])), ("public", public)):
        (folder / f"{name}.pem").write_text(text)
        (folder / f"{name}.pem").chmod(0o600)
    (folder / "snapshot.json").write_bytes(snapshot(pod, HOSTS[0]))
    (folder / "config.json").write_bytes(msgspec.json.encode({
        "adminSocket": str(folder / "admin"), "snapshot": {"source": "file", "path": str(folder / "snapshot.json")},
        "identity": {"source": "files", **{f"{name}File": str(folder / f"{name}.pem") for name in ("chain", "key", "roots")}},
        "listen": {"edge": {"80": http, "443": https}, "health": health, "metrics": metrics}, "drainAfterS": 0.2,
    }))
    command = [sys.executable, "-m", "injector.cli.main", "gateway", "--config", str(folder / "config.json")]
    with (folder / "log.jsonl").open("wb") as log:
        process = await trio.lowlevel.open_process(command, cwd=ROOT, stdout=log)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_pod, pod, seen)
                made = Gate(http, https, health, metrics, folder, process)
                with trio.fail_after(30):
                    while (await made.curl("http://pod/healthz/ready", port=health))[0] != 200:
                        await trio.lowlevel.checkpoint()
                yield made
                process.send_signal(signal.SIGTERM)
                with trio.fail_after(30):
                    assert await process.wait() == 0
                nursery.cancel_scope.cancel()
        finally:
            process.kill()


async def serve_pod(port: int, seen: list[bytes]) -> None:
    """The inbound recipe of a pod before its application; no packet rules bring anything here, so the test says where it was going."""
    async with trio.open_nursery() as nursery:
        known = meshed(nursery, rules(BELIEVES, identity=ORDERS), ORDERS)
        known.dialer.servers[APP] = http_app(seen, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        with trio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", port))
            listener.listen()
            while True:
                sock, _ = await listener.accept()
                nursery.start_soon(serve_one, socket.socket(fileno=sock.detach()), known.runtime)


async def serve_one(sock: socket.socket, runtime: Any) -> None:
    with Redirected(sock, APP) as arrived:
        await serve_inbound(arrived, runtime, {})


async def test_clients_come_in_by_name_and_go_on_by_mtls(tmp_path: Path) -> None:
    seen: list[bytes] = []
    async with gate(tmp_path, seen) as made:
        assert await made.curl(f"https://{HOSTS[0]}/app", "--http2") == (200, "hello", 0)
        assert await made.curl(f"https://{HOSTS[0]}/app/x", "--http1.1") == (200, "hello", 0)
        fields = dict(line.split(": ", 1) for line in seen[0].decode().split("\r\n")[1:])
        assert seen[0].startswith(b"GET /app HTTP/1.1\r\n")
        assert (fields["x-forwarded-for"], fields["x-forwarded-port"], fields["x-forwarded-host"]) == ("127.0.0.1", "443", HOSTS[0])
        assert fields["x-forwarded-client-cert"].endswith(f"URI={GATEWAY}")
        assert (await made.curl(f"https://{HOSTS[0]}/apple"))[0] == 404
        assert (await made.curl(f"http://{HOSTS[0]}/app"))[0] == 308
        assert (await made.curl(f"https://{HOSTS[0]}/app", "-H", f"host: {HOSTS[1]}"))[0] == 421
        # 35: refused in the handshake. Then the file changes, and the name has its certificate.
        assert (await made.curl(f"https://{HOSTS[1]}/app"))[2] == 35
        (tmp_path / "next.json").write_bytes(snapshot(pod_port(tmp_path), *HOSTS))
        (tmp_path / "next.json").rename(tmp_path / "snapshot.json")
        with trio.fail_after(30):
            while (await made.curl(f"https://{HOSTS[1]}/app"))[2] == 35:
                await trio.lowlevel.checkpoint()
        assert (await made.curl(f"https://{HOSTS[1]}/app"))[:2] == (200, "hello")
        metrics = (await made.curl("http://pod/metrics", port=made.metrics))[1]
        assert 'direction="edge"' in metrics
        idle = await trio.open_tcp_stream("127.0.0.1", made.http)    # whose end the process does not wait for
        await idle.send_all(b"GET /app HTTP/1.1\r\nhost: www.example.com\r\n\r\n")
        assert (await read_until(idle, b"\r\n\r\n")).startswith(b"HTTP/1.1 308 ")
    with trio.fail_after(10):
        assert await idle.receive_some() == b""
    await idle.aclose()
    assert {line["direction"] for line in made.lines} == {"edge"}
    assert {line.get("rule") for line in made.lines if line.get("status") == 200} == {"web"}


def pod_port(folder: Path) -> int:
    known = json.loads((folder / "snapshot.json").read_text())
    port: int = known["outbound"]["services"][0]["endpoints"][0]["port"]
    return port
