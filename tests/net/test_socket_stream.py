"""The stream that skips trio's ceremony: what it keeps of a stream's promises, and what it leaves to its one user a direction."""

import socket

import pytest
import trio
from trio.lowlevel import wait_readable
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from sidecar.net.socket_stream import LAST_WORDS_S, SocketStream, abort, linger
from tests.helpers.sockets import reset, tcp, tcp_pair


def pair() -> tuple[SocketStream, SocketStream]:
    ours, theirs = tcp_pair()
    return SocketStream(ours), SocketStream(theirs)


async def test_a_megabyte_and_the_end() -> None:
    one, other = pair()
    text, got = bytes(range(256)) * 4096, b""
    async with one, other, trio.open_nursery() as nursery:

        async def send() -> None:
            await one.send_all(text)
            await one.send_eof()

        nursery.start_soon(send)
        while data := await other.receive_some(50_000):
            assert len(data) <= 50_000
            got += data
        await other.send_all(b"answer")
        assert await one.receive_some() == b"answer"
    assert got == text


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_whatever_holds_the_bytes(kind: type) -> None:
    one, other = pair()
    async with one, other:
        await one.send_all(kind(b"abc"))
        await one.send_all(kind(b""))
        assert await other.receive_some() == b"abc"


@pytest.mark.parametrize("end", [reset, abort])
async def test_a_reset_is_an_error(end: object) -> None:
    ours, theirs = tcp_pair()
    async with SocketStream(ours) as stream:
        end(theirs)  # type: ignore[operator]
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_eof()


async def test_a_closed_one_says_so_and_closes_again() -> None:
    one, other = pair()
    async with other:
        one.close()
        one.close()
        await one.aclose()
        abort(one.sock)
        for use in (one.receive_some(), one.send_all(b"x"), one.send_eof(), one.wait_send_all_might_not_block()):
            with pytest.raises(trio.ClosedResourceError):
                await use
        assert await other.receive_some() == b""


async def test_closing_wakes_who_waits() -> None:
    one, other = pair()
    async with other, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await one.receive_some()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        one.close()


async def test_a_cancelled_receive_loses_nothing() -> None:
    one, other = pair()
    async with one, other:
        with trio.move_on_after(0) as scope:
            await other.receive_some()
        assert scope.cancelled_caught
        await one.send_all(b"all of it")
        assert await other.receive_some() == b"all of it"


async def test_a_reader_that_is_slow_holds_the_writer() -> None:
    one, other = pair()
    sent = 0
    async with one, other:
        with trio.move_on_after(0.05) as scope:
            while True:
                await one.send_all(b"x" * 65536)
                sent += 65536
        assert scope.cancelled_caught
        assert sent < 64 << 20


async def test_a_size_of_none_is_no_size() -> None:
    one, other = pair()
    async with one, other:
        for size in (0, -1):
            with pytest.raises(ValueError, match="max_bytes"):
                await one.receive_some(size)


async def test_unix_sockets_too() -> None:
    ours, theirs = socket.socketpair()
    async with SocketStream(ours) as one, SocketStream(theirs) as other:
        await one.send_all(b"x")
        assert await other.receive_some() == b"x"
        abort(ours)
        assert await other.receive_some() == b""


async def test_small_writes_leave_at_once() -> None:
    with tcp() as (ours, theirs):
        SocketStream(theirs)
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_last_words_arrive_although_much_is_unread() -> None:
    """Closing with unread bytes sends a reset, which overtakes what was said."""
    one, other = pair()
    async with one, other, trio.open_nursery() as nursery:

        async def refuse() -> None:
            await other.send_all(b"too large")
            await linger(other)
            other.close()

        nursery.start_soon(refuse)
        await one.send_all(b"x" * 500_000)
        await one.send_eof()
        assert await one.receive_some() == b"too large"
        assert await one.receive_some() == b""


async def test_lingering_ends(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    started = trio.current_time()
    await linger(theirs)
    assert trio.current_time() == started + LAST_WORDS_S
    await ours.send_all(b"x" * 200_000)
    await linger(theirs, 100_000)
    assert trio.current_time() == started + LAST_WORDS_S
    await ours.aclose()
    await linger(theirs)


# -- without waiting


async def test_what_is_here_and_what_there_is_room_for() -> None:
    with tcp() as (client, server):
        one, other = SocketStream(client), SocketStream(server)
        assert one.receive_nowait() is None
        sent = 0
        while taken := other.send_nowait(b"x" * 100_000):
            sent += taken
        await wait_readable(client)
        received = len(one.receive_nowait() or b"")
        assert 0 < received <= sent
        while received < sent:
            received += len(await one.receive_some())
        assert other.send_nowait(memoryview(b"more")) == 4
        assert await one.receive_some() == b"more"
        await other.send_eof()
        await wait_readable(client)
        assert one.receive_nowait() == b""


async def test_without_waiting_a_reset_is_an_error_and_a_closed_one_says_so() -> None:
    with tcp() as (client, server):
        one, other = SocketStream(client), SocketStream(server)
        other.abort()
        await wait_readable(client)
        with pytest.raises(trio.BrokenResourceError):
            one.receive_nowait()
        with pytest.raises(trio.BrokenResourceError):
            one.send_nowait(b"x")
        for attempt in (other.receive_nowait, lambda: other.send_nowait(b"x")):
            with pytest.raises(trio.ClosedResourceError):
                attempt()


async def test_input_is_waited_for_and_then_here() -> None:
    one, other = pair()
    async with one, other, trio.open_nursery() as nursery:
        got: list[bytes | None] = []

        async def receive() -> None:
            await one.wait_input()
            got.append(one.receive_nowait())

        for text in (b"a", b"b" * 1000):
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            assert got == []
            await other.send_all(text)
            await one.wait_send_all_might_not_block()
            await wait_all_tasks_blocked(0.01)
            assert got == [text]
            got.clear()
        await other.send_eof()
        await one.wait_input()
        assert one.receive_nowait() == b""


async def test_who_has_no_task_is_told_of_input() -> None:
    one, other = pair()
    told = trio.Event()

    class Told:
        def look(self) -> None:
            assert one.receive_nowait() == b"a"
            told.set()

        def crash(self, bug: Exception) -> None:
            raise AssertionError from bug

    async with one, other:
        one.tell_input(Told())
        await wait_all_tasks_blocked()
        assert not told.is_set()
        await other.send_all(b"a")
        await told.wait()
    with pytest.raises(trio.ClosedResourceError):
        one.tell_input(Told())
