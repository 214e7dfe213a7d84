"""`bartizan gateway` as a process, from files, before a caller that is a sidecar's half only."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from sidecar.net.tls_context import ALPN_EGRESS
from tests.architecture.sources import ROOT
from tests.helpers import pki
from tests.helpers.gateway import GATEWAY
from tests.helpers.mesh import call, echo, read_until, root
from tests.helpers.pki import WEB
from tests.helpers.sockets import free_ports


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Where the gateway listens, which leads `web` to the loopback and nowhere else."""
    number, health, metrics = free_ports(3)
    holder = pki.issue(root(), pki.uri(GATEWAY))
    for name, text in (("chain", holder.chain_pem), ("key", holder.key_pem), ("roots", pki.pem([root().certificate]))):
        (tmp_path / f"{name}.pem").write_text(text)
        (tmp_path / f"{name}.pem").chmod(0o600)
    (tmp_path / "snapshot.json").write_text(json.dumps({
        "workload": {"identity": GATEWAY, "namespace": "gateways"},
        "gateway": [{"identity": WEB, "ranges": [{"cidr": "127.0.0.1/32", "rule": "loopback"}]}],
    }))
    (tmp_path / "config.json").write_text(json.dumps({
        "adminSocket": str(tmp_path / "admin"), "snapshot": {"source": "file", "path": str(tmp_path / "snapshot.json")},
        "identity": {"source": "files", **{f"{name}File": str(tmp_path / f"{name}.pem") for name in ("chain", "key", "roots")}},
        "listen": {"gateway": number, "health": health, "metrics": metrics}, "drainAfterS": 0,
    }))
    with (tmp_path / "log.jsonl").open("wb") as log, subprocess.Popen(
        [sys.executable, "-m", "injector.cli.main", "gateway", "--config", str(tmp_path / "config.json")], cwd=ROOT, stdout=log,
    ) as process:
        try:
            yield number
        finally:
            process.terminate()
            assert process.wait() == 0


async def connected(port: int) -> socket.socket:
    with trio.fail_after(30):
        while True:
            sock = trio.socket.socket()
            try:
                await sock.connect(("127.0.0.1", port))
                return socket.socket(fileno=sock.detach())
            except ConnectionRefusedError:      # not yet
                sock.close()
                await trio.lowlevel.checkpoint()


async def test_it_leads_out_whom_its_snapshot_names(port: int, tmp_path: Path) -> None:
    with trio.socket.socket() as outside:
        await outside.bind(("127.0.0.1", 0))
        outside.listen()
        where = f"127.0.0.1:{outside.getsockname()[1]}"
        told = {}
        for identity in (WEB, pki.ORDERS):
            with trio.fail_after(30):
                stream = await call(await connected(port), identity, alpn=ALPN_EGRESS)
                await stream.send_all(f"bartizan-egress/1 tcp {where}\n".encode())
                told[identity] = await read_until(stream, b"\n")
                if identity == WEB:
                    sock, _ = await outside.accept()
                    with socket.socket(fileno=sock.detach()) as server:
                        server.setblocking(False)
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(echo, server)
                            await stream.send_all(b"ping")
                            assert await read_until(stream, b"ping") == b"ping"
                            await stream.send_eof()
                stream.close()
    assert told[WEB] == b"ok\n"
    assert told[pki.ORDERS].startswith(b"no BZ0202 ")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {(line["direction"], line["peer"], line.get("rule"), line.get("code")) for line in lines} == {
        ("gateway", WEB, "loopback", None), ("gateway", pki.ORDERS, None, "BZ0202"),
    }
