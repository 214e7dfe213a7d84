"""How a sidecar leaves: the real process behind real packet rules, told to end while an exchange is under way."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.model import ports
from tests.architecture.sources import ROOT
from tests.helpers.mesh import read_until
from tests.helpers.netns import POD, World, why_impossible, world

WHY_IMPOSSIBLE = why_impossible()
pytestmark = [pytest.mark.netns, pytest.mark.skipif(bool(WHY_IMPOSSIBLE), reason=WHY_IMPOSSIBLE)]

APP = (POD[4], 8080)
SNAPSHOT: dict[str, Any] = {
    "workload": {"identity": "spiffe://example.org/ns/shop/sa/web", "namespace": "shop", "addresses": [POD[4]]},
    "inbound": {"mode": "permissive", "permissiveUntil": 4e9},
}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"


@pytest.fixture(scope="module")
def where() -> Iterator[World]:
    with world() as made:
        made.pod.run(f"iptables -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports {ports.INBOUND}")
        yield made


class Leaving:
    """A sidecar and its application, seen from the node."""

    def __init__(self, where: World, process: subprocess.Popen[bytes], listener: socket.socket) -> None:
        self.where, self.process = where, process
        self._listener = trio.socket.from_stdlib_socket(listener)

    async def connect(self, port: int = APP[1]) -> trio.SocketStream:
        with self.where.node.entered():
            sock = trio.socket.socket()
        try:
            await sock.connect((POD[4], port))
        except OSError:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def accept(self) -> trio.SocketStream:
        """The application's end of the next exchange, its request read."""
        sock, _ = await self._listener.accept()
        stream = trio.SocketStream(sock)
        await read_until(stream, b"\r\n\r\n")
        return stream

    async def exchange(self) -> bytes:
        """What a new caller is answered."""
        async with await self.connect() as caller:
            await caller.send_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")
            async with await self.accept() as app:
                await app.send_all(HEAD + b"0123456789")
            return await read_until(caller, b"0123456789")

    async def is_ready(self) -> bool:
        async with await self.connect(ports.HEALTH) as asking:
            await asking.send_all(b"GET /healthz/ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            return b" 200 " in await read_until(asking, b"\n")

    async def wait_refusing(self) -> None:
        while True:
            try:
                await (await self.connect(ports.HEALTH)).aclose()      # the application's would have to be answered
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass    # it came just as the listener closed

    async def wait_ended(self) -> int:
        return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)


@contextmanager
def _running(command: list[str], where: World) -> Iterator[subprocess.Popen[bytes]]:
    with where.pod.entered():
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def leaving(where: World, folder: Path, **settings: float) -> AsyncIterator[Leaving]:
    (folder / "snapshot.json").write_text(json.dumps(SNAPSHOT))
    (folder / "config.json").write_text(json.dumps({
        "adminSocket": str(folder / "admin"), "snapshot": {"source": "file", "path": str(folder / "snapshot.json")},
        "interception": {"checkEveryS": 0}, "accessLog": "off", **settings,
    }))
    with where.pod.entered():
        listener = socket.create_server(APP)
    with listener, trio.fail_after(30), _running(
        [sys.executable, "-m", "sidecar", "--config", str(folder / "config.json")], where,
    ) as process:
        made = Leaving(where, process, listener)
        while True:
            try:
                assert await made.is_ready()
                break
            except ConnectionRefusedError:
                assert process.poll() is None
        yield made


async def test_while_callers_learn_of_it_they_are_served(where: World, tmp_path: Path) -> None:
    """Not ready at once, and whoever still comes is answered, for as long as was said; a second signal ends it at once."""
    async with leaving(where, tmp_path, drainAfterS=3600, drainS=3600) as pod:
        assert b" 200 " in await pod.exchange()
        pod.process.send_signal(signal.SIGTERM)
        while await pod.is_ready():
            pass
        assert b" 200 " in await pod.exchange()
        assert pod.process.poll() is None
        pod.process.send_signal(signal.SIGTERM)
        assert await pod.wait_ended() == 0


async def test_an_exchange_under_way_is_brought_to_its_end(where: World, tmp_path: Path) -> None:
    """Nobody enters any more, what was begun is finished, and with its end the process ends: no sooner, no later."""
    async with leaving(where, tmp_path, drainAfterS=0, drainS=3600) as pod:
        async with await pod.connect() as caller:
            await caller.send_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n")
            app = await pod.accept()
            await app.send_all(HEAD + b"01234")
            pod.process.send_signal(signal.SIGTERM)
            await pod.wait_refusing()
            await app.send_all(b"56789")
            assert (await read_until(caller, b"56789")).endswith(b"0123456789")
            assert pod.process.poll() is None
            await app.aclose()
        assert await pod.wait_ended() == 0


async def test_what_does_not_end_is_ended(where: World, tmp_path: Path) -> None:
    async with leaving(where, tmp_path, drainAfterS=0, drainS=0.1) as pod, await pod.connect() as caller:
        await caller.send_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")
        async with await pod.accept():
            pod.process.send_signal(signal.SIGTERM)
            assert await pod.wait_ended() == 0
            with pytest.raises((trio.BrokenResourceError, AssertionError)):
                await read_until(caller, b"0123456789")
