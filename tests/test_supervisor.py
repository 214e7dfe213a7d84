"""A real supervisor with real workers, which lead `web` to an echo on the loopback."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from sidecar.net.service import call_unix
from sidecar.net.tls_context import ALPN_EGRESS
from sidecar.net.tls_stream import TlsStream
from sidecar.supervisor import PAUSE_FIRST_S, STARTS_IN_VAIN
from tests.architecture.sources import ROOT
from tests.helpers import pki
from tests.helpers.gateway import GATEWAY
from tests.helpers.mesh import call, echo, is_gone, read_until, root
from tests.helpers.netns import why_impossible
from tests.helpers.pki import WEB
from tests.helpers.sockets import free_ports

WORKERS = 2
WHY_IMPOSSIBLE = why_impossible()
CONNECTIONS = re.compile(r"^bartizan_connections_total\{.*\} (\d+)$", re.MULTILINE)


def children(pid: int) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


class Fleet:
    """A gateway of several workers.

    Args:
        outside: where it leads.
    """

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], ports: list[int], outside: int) -> None:
        self.folder, self.process, self.outside = folder, process, outside
        self.port, self.health, self.metrics = ports

    def workers(self) -> list[int]:
        """Their process ids."""
        return children(self.process.pid)

    async def get(self, port: int, path: str) -> tuple[int, str]:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
            head, _, body = b"".join([piece async for piece in stream]).partition(b"\r\n\r\n")
            return int(head.split()[1]), body.decode()

    async def ready(self) -> tuple[int, str]:
        return await self.get(self.health, "/healthz/ready")

    async def wait_ready(self) -> None:
        while True:
            assert self.process.poll() is None
            try:
                if (await self.ready())[0] == 200:
                    return
            except OSError:
                await trio.lowlevel.checkpoint()    # not yet

    async def counted(self) -> list[int]:
        """Connections that were told, by worker."""
        texts = [(await call_unix(f"{self.folder}/admin.{number}", "GET", "/metrics")).body.decode() for number in range(1, WORKERS + 1)]
        return [sum(map(int, CONNECTIONS.findall(text))) for text in texts]

    async def summed(self) -> int:
        return sum(map(int, CONNECTIONS.findall((await self.get(self.metrics, "/metrics"))[1])))

    async def connect(self) -> TlsStream:
        """By the gateway to the echo."""
        sock = trio.socket.socket()
        try:
            await sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        stream = await call(socket.socket(fileno=sock.detach()), WEB, alpn=ALPN_EGRESS)
        await stream.send_all(f"bartizan-egress/1 tcp 127.0.0.1:{self.outside}\n".encode())
        assert await read_until(stream, b"\n") == b"ok\n"
        return stream

    async def exchange(self, stream: TlsStream | None = None) -> None:
        """Of one connection of its own, or one more on this."""
        used = stream or await self.connect()
        await used.send_all(b"ping")
        assert await read_until(used, b"ping") == b"ping"
        if stream is None:
            await used.send_eof()
            assert await is_gone(used)
            used.close()

    async def wait_refusing(self) -> None:
        while True:
            with trio.socket.socket() as sock:
                try:
                    await sock.connect(("127.0.0.1", self.port))
                except ConnectionRefusedError:
                    return
                except ConnectionResetError:
                    pass    # it came just as a listener closed

    async def wait_ended(self) -> int:
        return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)


def configuration(folder: Path, ports: list[int], **settings: Any) -> str:
    holder = pki.issue(root(), pki.uri(GATEWAY))
    for name, text in (("chain", holder.chain_pem), ("key", holder.key_pem), ("roots", pki.pem([root().certificate]))):
        (folder / f"{name}.pem").write_text(text)
        (folder / f"{name}.pem").chmod(0o600)
    (folder / "snapshot.json").write_text(json.dumps({
        "workload": {"identity": GATEWAY, "namespace": "gateways"},
        "gateway": [{"identity": WEB, "ranges": [{"cidr": "127.0.0.1/32", "rule": "loopback"}]}],
    }))
    (folder / "config.json").write_text(json.dumps({
        "adminSocket": str(folder / "admin"), "snapshot": {"source": "file", "path": str(folder / "snapshot.json")},
        "identity": {"source": "files", **{f"{name}File": str(folder / f"{name}.pem") for name in ("chain", "key", "roots")}},
        "listen": dict(zip(("gateway", "health", "metrics"), ports, strict=True)), "ledger": {"folder": str(folder / "ledger")},
        **settings,
    }))
    return str(folder / "config.json")


@contextmanager
def running(config: str, folder: Path, within: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    command = [*within, sys.executable, "-m", "injector.cli.main", "gateway", "--config", config, "--workers", str(WORKERS)]
    with (folder / "stderr").open("wb") as stderr, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def fleet(folder: Path, within: Sequence[str] = (), **settings: float) -> AsyncIterator[Fleet]:
    async def accept(listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        while True:
            sock, _ = await listener.socket.accept()
            server = socket.socket(fileno=sock.detach())
            server.setblocking(False)
            nursery.start_soon(serve, server)

    async def serve(server: socket.socket) -> None:
        with server:
            await echo(server)

    ports = free_ports(3)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(60), running(configuration(folder, ports, **settings), folder, within) as process:
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(accept, listener, nursery)
            made = Fleet(folder, process, ports, listener.socket.getsockname()[1])
            await made.wait_ready()
            yield made
            nursery.cancel_scope.cancel()


async def test_all_of_them_take_connections_and_are_told_as_one(tmp_path: Path) -> None:
    async with fleet(tmp_path, drainAfterS=0) as gateway:
        while not all(await gateway.counted()):
            await gateway.exchange()
        assert await gateway.summed() == sum(await gateway.counted())
        text = (await gateway.get(gateway.metrics, "/metrics"))[1]
        assert f"\nbartizan_workers {WORKERS}\n" in text
        assert "\nbartizan_ready 1\n" in text
        assert [(await gateway.get(port, "/etc/passwd"))[0] for port in (gateway.health, gateway.metrics)] == [404, 404]
        assert {name for name in os.listdir(tmp_path) if "ledger" in name} == {"ledger.1", "ledger.2"}
        gateway.process.terminate()
        assert await gateway.wait_ended() == 0


async def test_one_that_dies_comes_back_while_the_others_serve(tmp_path: Path) -> None:
    async with fleet(tmp_path) as gateway:
        while not all(await gateway.counted()):
            await gateway.exchange()
        before = await gateway.summed()
        lost, kept = gateway.workers()
        os.kill(lost, signal.SIGKILL)
        while (told := await gateway.ready())[0] == 200:
            pass
        assert re.fullmatch(r"worker [12]: it does not answer\n", told[1])
        while lost in gateway.workers():    # until then the kernel may deal it a connection
            await trio.lowlevel.checkpoint()
        await gateway.exchange()
        await gateway.wait_ready()
        assert kept in gateway.workers()
        assert lost not in gateway.workers()
        assert await gateway.summed() >= before
        assert "\nbartizan_worker_restarts_total 1\n" in (await gateway.get(gateway.metrics, "/metrics"))[1]
        assert f"ended, killed by SIGKILL; another is started in {PAUSE_FIRST_S:g} s" in (tmp_path / "stderr").read_text()


async def test_leaving_loses_nobody(tmp_path: Path) -> None:
    """Not ready at once, whoever comes meanwhile is served, and so is who is there; told again, all of it ends."""
    async with fleet(tmp_path, drainAfterS=3600, drainS=3600) as gateway:
        held = [await gateway.connect() for _ in range(8)]
        gateway.process.send_signal(signal.SIGTERM)
        while (told := await gateway.ready())[0] == 200:
            pass
        assert told[1] == "draining\n"
        while min(await gateway.counted()) < 2:     # both still take connections
            await gateway.exchange()
        for stream in held:
            await gateway.exchange(stream)
        gateway.process.send_signal(signal.SIGTERM)
        assert await gateway.wait_ended() == 0
        for stream in held:
            stream.close()


async def test_it_ends_with_the_last_exchange(tmp_path: Path) -> None:
    async with fleet(tmp_path, drainAfterS=0, drainS=3600) as gateway:
        held = [await gateway.connect() for _ in range(8)]
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.wait_refusing()
        for stream in held:
            assert gateway.process.poll() is None
            await gateway.exchange(stream)
            await stream.send_eof()
            assert await is_gone(stream)
            stream.close()
        assert await gateway.wait_ended() == 0


async def test_workers_without_a_supervisor_end(tmp_path: Path) -> None:
    async with fleet(tmp_path, drainAfterS=0, drainS=0) as gateway:
        gateway.process.kill()
        await gateway.wait_refusing()


@pytest.mark.netns
@pytest.mark.skipif(bool(WHY_IMPOSSIBLE), reason=WHY_IMPOSSIBLE)
async def test_the_first_process_of_a_container_takes_leave_of_all(tmp_path: Path) -> None:
    async with fleet(tmp_path, ["unshare", "--pid", "--fork", "--kill-child"], drainAfterS=0) as gateway:
        (first,) = children(gateway.process.pid)
        workers = children(first)
        assert len(workers) == WORKERS
        go = tmp_path / "go"    # outlives its parent, and so becomes the first process's child; ends when it is told
        orphan = f"(until [ -e {go} ]; do sleep 0.05; done) > /dev/null & exit"
        await trio.run_process(["nsenter", f"--target={first}", "--pid", "sh", "-c", orphan])
        assert len(children(first)) == WORKERS + 1
        go.touch()
        while children(first) != workers:
            await trio.lowlevel.checkpoint()
        os.kill(first, signal.SIGTERM)
        assert await gateway.wait_ended() == 0


async def test_what_cannot_start_ends_with_its_reason(tmp_path: Path) -> None:
    ports = free_ports(3)
    with socket.create_server(("127.0.0.1", ports[0])), trio.fail_after(60), \
            running(configuration(tmp_path, ports), tmp_path) as process:
        assert await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True) == 1
    said = (tmp_path / "stderr").read_text()
    assert f"cannot listen on :: port {ports[0]}: Address already in use" in said
    assert f"soon after each of {STARTS_IN_VAIN} starts" in said


@pytest.mark.parametrize(("arguments", "words"), [
    (["gateway", "--workers", "17"], "workers: there can be 1 to 16"),
    (["gateway", "--workers", "0"], "workers: there can be 1 to 16"),
    (["sidecar"], "workers: a sidecar is one process"),
])
def test_numbers_that_cannot_be(arguments: list[str], words: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, free_ports(3), workers=2)
    command = [sys.executable, "-m", "injector.cli.main", *arguments, "--config", config]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert words in done.stderr


def test_strangers_are_taken_leave_of_and_own_children_are_not() -> None:
    """As the first process of a container; in a process of its own, whose children nobody else waits for."""
    script = """
import os, subprocess, sys
from sidecar.supervisor import reap_strangers
stranger, own = (subprocess.Popen(["true"]) for _ in range(2))
for child in (stranger, own):
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
reap_strangers({own.pid})
def is_there(pid):
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return False
print(is_there(own.pid), is_there(stranger.pid))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
