"""h2spec, which others wrote, against the real sidecar behind real packet rules, in plaintext and over mesh mTLS: each case passes.

Its application speaks HTTP/1.1, so that every case also crosses the translation.
"""

import json
import socket
import ssl
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h11
import pytest
import trio

from sidecar.model import ports
from tests.architecture.sources import ROOT
from tests.helpers import pki
from tests.helpers.netns import NODE, POD, Namespace, World, world
from tests.helpers.pki import ORDERS, WEB, Holder

pytestmark = [pytest.mark.foreign, pytest.mark.netns]

H2SPEC = ROOT / ".venv-e2e" / "bin" / "h2spec"
CASES = 146
APP = (POD[4], 8080)
SHIM = (NODE[4], 9000)
BODY = b"x" * 1024


@pytest.fixture(scope="module")
def where() -> Iterator[World]:
    with world() as made:
        made.pod.run(f"iptables -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports {ports.INBOUND}")
        yield made


def configure(folder: Path, root: Holder) -> Path:
    holder = pki.issue(root, pki.uri(ORDERS))
    snapshot = {
        "workload": {"identity": ORDERS, "namespace": "shop", "addresses": [POD[4]]},
        "inbound": {"mode": "permissive", "permissiveUntil": 4e9, "ports": {str(APP[1]): "http1"}},
    }
    config = {
        "adminSocket": str(folder / "admin"), "snapshot": {"source": "file", "path": str(folder / "snapshot.json")},
        "interception": {"checkEveryS": 0}, "accessLog": "off",
        "identity": {"source": "files", **{f"{name}File": str(folder / name) for name in ("chain", "key", "roots")}},
    }
    for name, text in (("chain", holder.chain_pem), ("key", holder.key_pem), ("roots", pki.pem(root.chain)),
                       ("snapshot.json", json.dumps(snapshot)), ("config.json", json.dumps(config))):
        (folder / name).write_text(text)
    return folder / "config.json"


async def application(stream: trio.SocketStream) -> None:
    """Answers whatever it is asked, once it has heard all of it."""
    conn, body = h11.Connection(h11.SERVER), BODY
    head = h11.Response(status_code=200, headers=[("content-length", str(len(BODY)))])
    try:
        while True:
            event = conn.next_event()
            if event is h11.NEED_DATA:
                conn.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                body = b"" if event.method == b"HEAD" else BODY
            elif isinstance(event, h11.EndOfMessage):
                for said in (head, h11.Data(body), h11.EndOfMessage()):
                    await stream.send_all(conn.send(said) or b"")
                conn.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        pass    # the exchange was given up


class Shim:
    """Takes plaintext, and says it over mTLS as a sidecar of the mesh would, by a TLS of others."""

    def __init__(self, node: Namespace, folder: Path, root: Holder) -> None:
        holder = pki.issue(root, pki.uri(WEB))
        (folder / "shim").write_text(holder.key_pem + holder.chain_pem)
        self._context = ssl.create_default_context(cadata=pki.pem(root.chain))
        self._context.check_hostname = False
        self._context.load_cert_chain(folder / "shim")
        self._context.set_alpn_protocols(["bartizan/h2"])
        self._node = node

    async def serve(self, caller: trio.SocketStream) -> None:
        with self._node.entered():
            sock = trio.socket.socket()
        await sock.connect(APP)
        async with (
            trio.SSLStream(trio.SocketStream(sock), self._context, https_compatible=True) as tls, trio.open_nursery() as nursery,
        ):
            for one, other in ((caller, tls), (tls, caller)):
                nursery.start_soon(_copy, one, other, nursery.cancel_scope)


async def _copy(one: trio.abc.Stream, other: trio.abc.Stream, scope: trio.CancelScope) -> None:
    try:
        while data := await one.receive_some():
            await other.send_all(data)
    except trio.BrokenResourceError:
        pass
    scope.cancel()


@contextmanager
def sidecar(where: World, config: Path) -> Iterator[None]:
    """While it runs, and it has no complaint in the end."""
    said = config.with_name("stderr")
    with where.pod.entered(), said.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "injector.cli.main", "sidecar", "--config", str(config)], cwd=ROOT,
                                   stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        while ask(where.node, ports.HEALTH, "/healthz/ready") != "ready\n":
            assert process.poll() is None, said.read_text()
        yield
        assert "\nbartizan_bugs_total 0\n" in ask(where.node, ports.METRICS, "/metrics")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert said.read_text() == ""


def ask(node: Namespace, port: int, path: str) -> str:
    """What the pod answers there; nothing if nobody does."""
    with node.entered():
        return subprocess.run(["curl", "-sS", f"http://{POD[4]}:{port}{path}"], capture_output=True, text=True).stdout


async def failures(node: Namespace, to: tuple[str, int], folder: Path) -> tuple[int, list[str]]:
    """(how many cases were tried, the names of those that failed or were left out)."""
    report = folder / "report.xml"
    host, port = to
    command = ["nsenter", f"--target={node.pid}", "--net", str(H2SPEC), "--strict", f"--host={host}", f"--port={port}",
               f"--junit-report={report}"]
    done = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
    assert report.exists(), done.stderr.decode()
    cases = list(ElementTree.parse(report).iter("testcase"))
    return len(cases), [f"{case.get('package')}: {case.get('classname')}" for case in cases if len(case)]


@pytest.mark.parametrize("is_mesh", [False, True], ids=["plaintext", "mesh"])
async def test_each_case_passes(is_mesh: bool, where: World, tmp_path: Path) -> None:
    root = pki.authority("mesh")
    config = configure(tmp_path, root)
    with where.pod.entered():
        app = socket.create_server(APP)
    with where.node.entered():
        shim = socket.create_server(SHIM)
    async with trio.open_nursery() as nursery:
        for listener, serve in ((app, application), (shim, Shim(where.node, tmp_path, root).serve)):
            listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            nursery.start_soon(partial(trio.serve_listeners, serve, [listening]))
        with sidecar(where, config):
            assert await failures(where.node, SHIM if is_mesh else APP, tmp_path) == (CASES, [])
        nursery.cancel_scope.cancel()
