import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.model.errors import ProtocolViolation
from sidecar.net.peek import PEEK_BYTES, peek
from sidecar.net.socket_stream import SocketStream
from tests.helpers.sockets import reset, tcp

HELLO = b"\x16\x03\x01\x02\x00" + bytes(512)


def never(data: bytes) -> bool | None:
    return None


def low_water(sock: socket.socket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


async def test_nothing_is_taken() -> None:
    with tcp() as (ours, theirs):
        ours.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await peek(theirs, lambda data: data[:3]) == b"GET"
        assert theirs.recv(100) == b"GET / HTTP/1.1\r\n\r\n"


async def test_byte_by_byte_wakes_once_a_byte() -> None:
    """The judge is asked about each longer beginning once: a partial hello does not keep the loop spinning."""
    seen: list[int] = []

    def judge(data: bytes) -> bool | None:
        seen.append(len(data))
        return True if len(data) == len(HELLO) else None

    with tcp() as (ours, theirs):
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peek, theirs, judge)
            for i in range(len(HELLO)):
                ours.send(HELLO[i:i + 1])
                await wait_all_tasks_blocked()
        assert seen == sorted(set(seen))
        assert seen[-1] == len(HELLO)
        assert theirs.recv(4096) == HELLO
        assert low_water(theirs) == 1


async def test_a_beginning_without_more_does_not_spin() -> None:
    asked = 0

    def judge(data: bytes) -> None:
        nonlocal asked
        asked += 1

    with tcp() as (ours, theirs):
        ours.send(b"\x16\x03")
        with trio.move_on_after(0.1):
            await peek(theirs, judge)
        assert asked == 1
        assert low_water(theirs) == 1
        assert theirs.recv(100) == b"\x16\x03"


@pytest.mark.parametrize("first", [b"", b"\x16\x03"])
async def test_the_end_is_no_answer(first: bytes) -> None:
    with tcp() as (ours, theirs):
        ours.send(first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours_ends, ours)
            assert await peek(theirs, never) is None
        assert low_water(theirs) == 1


async def ours_ends(ours: socket.socket) -> None:
    await wait_all_tasks_blocked()
    ours.shutdown(socket.SHUT_WR)


async def test_64_kib_without_an_answer_are_none() -> None:
    with tcp() as (ours, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(SocketStream(ours).send_all, bytes(PEEK_BYTES + 1))
            assert await peek(theirs, never) is None
        assert low_water(theirs) == 1


async def test_a_reset_is_an_error() -> None:
    with tcp() as (ours, theirs):
        reset(ours)
        with pytest.raises(OSError, match="reset"):
            await peek(theirs, never)


async def test_a_reset_after_some_bytes_is_no_answer() -> None:
    with tcp() as (ours, theirs):
        ours.send(b"\x16\x03")
        reset(ours)
        assert await peek(theirs, never) is None


@pytest.mark.parametrize("pieces", [(b"GE",), (b"GE", b"T / HTTP/1.1\r\n")])
async def test_urgent_data_is_refused(pieces: tuple[bytes, ...]) -> None:
    """`GE`, an urgent byte, `T /`: a peek sees two letters for ever, and who reads then a request without the byte between."""
    with tcp() as (ours, theirs):
        ours.send(pieces[0])
        ours.send(b"!", socket.MSG_OOB)
        for piece in pieces[1:]:
            ours.send(piece)
        with pytest.raises(ProtocolViolation, match="urgent"):
            await peek(theirs, lambda data: True if b" " in data else None)
        assert low_water(theirs) == 1


async def test_what_the_judge_raises_leaves_the_socket_as_it_was() -> None:
    def judge(data: bytes) -> None:
        if len(data) > 1:
            raise ValueError("no")

    with tcp() as (ours, theirs):
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                with pytest.raises(ValueError, match="no"):
                    await peek(theirs, judge)

            ours.send(b"a")
            nursery.start_soon(look)
            await wait_all_tasks_blocked()
            ours.send(b"b")
        assert low_water(theirs) == 1
        assert theirs.recv(10) == b"ab"
