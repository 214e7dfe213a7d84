import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.model.errors import ConfigError, NotResolved
from sidecar.net.datagram import AT_ONCE, Answerer, bind_udp, serve_datagrams
from sidecar.net.listener import Tally


@asynccontextmanager
async def asking(answer: Answerer, tally: Tally) -> AsyncIterator[trio.socket.SocketType]:
    sock = bind_udp("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_datagrams, sock, answer, lambda data: data == b"canary", tally)
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            await client.connect(sock.getsockname())
            yield client
        nursery.cancel_scope.cancel()
    assert sock.fileno() < 0


async def test_each_answer_goes_where_its_question_came_from() -> None:
    async def answer(data: bytes) -> bytes:
        return data.upper()

    tally = Tally()
    async with asking(answer, tally) as one:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            await other.connect(one.getpeername())
            await one.send(b"a")
            await other.send(b"b")
            assert (await one.recv(10), await other.recv(10)) == (b"A", b"B")


async def test_silence_errors_and_bugs_leave_the_others_their_answers(capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(data: bytes) -> bytes | None:
        if data == b"silence":
            return None
        if data == b"error":
            raise NotResolved("no")
        if data == b"bug":
            raise ValueError("a bug")
        return data

    tally = Tally()
    async with asking(answer, tally) as client:
        for data in (b"canary", b"silence", b"error", b"bug", b"", b"last"):
            await client.send(data)
        assert await client.recv(10) == b""
        assert await client.recv(10) == b"last"
    assert tally.bugs == 1
    assert "a bug" in capsys.readouterr().err


async def test_a_slow_answer_holds_nobody_up_and_too_many_are_dropped() -> None:
    go = trio.Event()

    async def answer(data: bytes) -> bytes:
        if data == b"slow":
            await go.wait()
        return data

    async with asking(answer, Tally()) as client:
        for _ in range(AT_ONCE - 1):
            await client.send(b"slow")
            await wait_all_tasks_blocked()
        await client.send(b"quick")
        assert await client.recv(10) == b"quick"
        await client.send(b"slow")
        await client.send(b"dropped")
        await wait_all_tasks_blocked()
        go.set()
        assert {await client.recv(10) for _ in range(AT_ONCE)} == {b"slow"}
        await client.send(b"after")
        assert await client.recv(10) == b"after"


async def test_an_asker_that_is_gone_ends_nothing() -> None:
    async def answer(data: bytes) -> bytes:
        return data

    async with asking(answer, Tally()) as client:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            await gone.connect(client.getpeername())
            await gone.send(b"x")
        for _ in range(3):
            await client.send(b"still there")
            assert await client.recv(20) == b"still there"


def test_a_port_in_use_is_named() -> None:
    with bind_udp("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: .*is a sidecar running already"):
            bind_udp("127.0.0.1", port)
