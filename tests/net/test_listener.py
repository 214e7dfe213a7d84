import os
import socket
import stat
from pathlib import Path

import pytest
import trio
from trio.lowlevel import wait_readable
from trio.testing import wait_all_tasks_blocked

from sidecar.model.errors import ConfigError, DownstreamGone
from sidecar.net.listener import ConnectionHandler, Tally, has_ipv6, listen_tcp, listen_unix, serve_listener


async def talk(handler: ConnectionHandler, tally: Tally, times: int) -> list[bytes]:
    """What each of `times` clients, one after the other, is told."""
    listener = listen_tcp("127.0.0.1", 0)
    address, heard = listener.getsockname(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listener, handler, tally)
        for _ in range(times):
            async with await trio.open_tcp_stream(*address) as stream:
                await stream.send_all(b"x")
                try:
                    heard.append(bytes(await stream.receive_some()))
                except trio.BrokenResourceError:
                    heard.append(b"(reset)")
        while tally.open.current:
            await tally.open.wait_change(tally.open.current)
        nursery.cancel_scope.cancel()
    assert listener.fileno() < 0
    return heard


@pytest.mark.parametrize("error", [
    DownstreamGone(), ConnectionResetError(), trio.BrokenResourceError(), trio.ClosedResourceError(),
    ExceptionGroup("of a nursery", [DownstreamGone(), trio.BrokenResourceError()]),
])
async def test_what_is_expected_ends_its_connection_and_no_more(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(sock: socket.socket) -> None:
        await wait_readable(sock)
        sock.recv(1)
        raise error

    tally = Tally()
    assert await talk(handler, tally, 2) == [b"", b""]
    assert (tally.bugs, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("error", [ValueError("a bug"), AssertionError(), ExceptionGroup("of a nursery", [DownstreamGone(), KeyError()])])
async def test_a_bug_is_counted_and_printed_and_the_server_lives(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(sock: socket.socket) -> None:
        await wait_readable(sock)
        sock.recv(1)
        raise error

    tally = Tally()
    assert await talk(handler, tally, 2) == [b"", b""]
    assert tally.bugs == 2
    assert "Traceback" in capsys.readouterr().err


async def test_a_handler_may_close_its_socket_itself() -> None:
    async def handler(sock: socket.socket) -> None:
        await wait_readable(sock)
        sock.recv(1)
        sock.send(b"bye")
        sock.close()

    tally = Tally()
    assert await talk(handler, tally, 1) == [b"bye"]
    assert tally.bugs == 0


async def test_cancelling_ends_every_connection() -> None:
    async def handler(sock: socket.socket) -> None:
        await trio.sleep_forever()

    tally, listener = Tally(), listen_tcp("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listener, handler, tally)
        async with await trio.open_tcp_stream(*listener.getsockname()) as one, await trio.open_tcp_stream(*listener.getsockname()):
            await tally.open.wait_change(0)
            await wait_all_tasks_blocked()
            assert tally.open.current == 2
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert await one.receive_some() == b""
    assert tally.open.current == 0


async def test_the_queue_is_served_at_once_and_sockets_do_not_block() -> None:
    seen: list[bool] = []

    async def handler(sock: socket.socket) -> None:
        seen.append(sock.getblocking())

    tally, listener = Tally(), listen_tcp("127.0.0.1", 0)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(100)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listener, handler, tally)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for client in clients:
        client.close()
    assert seen == [False] * 100


def test_a_port_in_use_is_named_with_the_cure() -> None:
    with listen_tcp("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: .*another process has it"):
            listen_tcp("127.0.0.1", port)


@pytest.mark.skipif(not has_ipv6(), reason="the kernel has no IPv6")
def test_the_wildcard_takes_both_families() -> None:
    with listen_tcp("::", 0) as listener:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, listener.getsockname()[1])):
                pass


def test_a_unix_socket_is_private_and_replaces_a_stale_one(tmp_path: Path) -> None:
    path = str(tmp_path / "admin")
    before = os.umask(0)
    os.umask(before)
    for _ in range(2):
        with listen_unix(path):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.umask(before) == before


def test_no_place_for_a_unix_socket(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on .*: No such file"):
        listen_unix(str(tmp_path / "nowhere" / "admin"))
