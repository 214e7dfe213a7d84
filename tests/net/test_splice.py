"""Bytes between real sockets: whole, held back, ended and broken as they came, with pipes and without."""

import contextlib
import fcntl
import os
import socket
import sys
import termios
from collections.abc import Iterator

import pytest
import trio
from trio.lowlevel import wait_writable
from trio.testing import wait_all_tasks_blocked

from sidecar.net.socket_stream import SocketStream
from sidecar.net.splice import BULK_BYTES, LARGE_BYTES, PIECE_BYTES, SPARE_PIPES, Pipe, Pipes, relay
from tests.helpers.sockets import reset, tcp_pair


class Way:
    """`client` sends, `server` reads; the relay stands between."""

    def __init__(self, pipes: Pipes) -> None:
        self.pipes = pipes
        self.client, self.source = tcp_pair()
        self.sink, self.server = tcp_pair()
        self.moved: list[int] = []

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return self.client, self.source, self.sink, self.server

    async def run(self) -> None:
        await relay(self.source, self.sink, self.pipes, self.moved.append)
        self.sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


@pytest.fixture(params=["pipes", "copying"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    made = Way(Pipes(32 if request.param == "pipes" else 0))
    yield made
    made.close()
    assert made.pipes.count <= SPARE_PIPES
    made.pipes.give_up()
    assert made.pipes.count == 0


async def read_rest(sock: socket.socket) -> bytes:
    stream, pieces = SocketStream(sock), []
    while piece := await stream.receive_some():
        pieces.append(piece)
    return b"".join(pieces)


async def test_all_arrives_in_order_and_is_counted(way: Way) -> None:
    said, heard = os.urandom(5_000_001), []

    async def hear() -> None:
        heard.append(await read_rest(way.server))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.run)
            nursery.start_soon(hear)
            await SocketStream(way.client).send_all(said)
            way.client.shutdown(socket.SHUT_WR)
    assert heard == [said]
    assert sum(way.moved) == len(said)


async def test_a_small_message_goes_at_once_and_without_a_pipe(way: Way) -> None:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.run)
            for _ in range(3):
                way.client.send(b"ping")
                assert await SocketStream(way.server).receive_some() == b"ping"
            assert (way.moved, way.pipes.count) == ([4, 4, 4], 0)
            nursery.cancel_scope.cancel()


async def test_an_end_without_a_byte(way: Way) -> None:
    way.client.shutdown(socket.SHUT_WR)
    with trio.fail_after(5):
        await way.run()
        assert await read_rest(way.server) == b""
    assert way.moved == []


def waiting(sock: socket.socket | int, request: int) -> int:
    return int.from_bytes(fcntl.ioctl(sock, request, bytes(4)), sys.byteorder)


async def push(sock: socket.socket, sent: list[int]) -> None:
    """As much as is taken; `sent` counts."""
    while True:
        await wait_writable(sock)
        sent[0] += sock.send(bytes(65536))


async def fill(way: Way) -> int:
    """Send until `source`, from which nobody reads yet, holds more than makes a piece bulk, and takes no more."""
    sent = 0
    while waiting(way.source, termios.FIONREAD) < BULK_BYTES or sent < 1 << 20:
        await wait_writable(way.client)
        sent += way.client.send(bytes(65536))
    return sent


@pytest.mark.parametrize(("most", "limit"), [(8, LARGE_BYTES), (0, PIECE_BYTES)])
async def test_a_stalled_reader_costs_at_most_a_piece(most: int, limit: int) -> None:
    """What was sent, was not read, and is in none of the four sockets. The first piece is copied, the second waits in a pipe.

    There is always more to take than one piece may be.
    """
    way, read, sent = Way(Pipes(most)), 0, [0]
    way.source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    for sock in (way.sink, way.server):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push, way.client, sent)
                await wait_all_tasks_blocked(0.1)
                assert waiting(way.source, termios.FIONREAD) > limit
                nursery.start_soon(way.run)
                while not way.moved:
                    read += len(await SocketStream(way.server).receive_some(4096))
                await wait_all_tasks_blocked(0.1)
                assert way.pipes.count == (1 if most else 0)
                unread = sum(waiting(sock, termios.FIONREAD) for sock in (way.source, way.server))
                unsent = sum(waiting(sock, termios.TIOCOUTQ) for sock in (way.client, way.sink))
                assert 0 < sent[0] - read - unread - unsent <= limit
                nursery.cancel_scope.cancel()
    finally:
        way.close()
    assert way.pipes.count == 0     # one with bytes in it is not kept


class Noted(Pipes):
    taken = 0

    def take_nowait(self) -> Pipe | None:
        self.taken += 1
        return super().take_nowait()


async def test_bulk_goes_through_a_pipe_which_is_there_only_meanwhile() -> None:
    way = Way(pipes := Noted())
    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                left = await fill(way)
                nursery.start_soon(way.run)
                while left:
                    left -= len(await SocketStream(way.server).receive_some())
                await wait_all_tasks_blocked()
                assert pipes.taken > 0
                spare = pipes.take_nowait()
                assert pipes.count == 1     # it had come back, and empty
                assert spare is not None
                with pytest.raises(BlockingIOError):
                    os.read(spare.out, 1)
                pipes.give_back(spare, is_empty=True)
                nursery.cancel_scope.cancel()
    finally:
        way.close()
        pipes.give_up()


# -- what breaks


@pytest.mark.parametrize("begun", [False, True])
async def test_a_reset_source_is_no_end(way: Way, begun: bool) -> None:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            async def run() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await way.run()

            nursery.start_soon(run)
            if begun:
                way.client.send(b"begun")
                assert await SocketStream(way.server).receive_some() == b"begun"
            reset(way.client)


async def test_a_sink_that_is_gone(way: Way) -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async def run() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await way.run()
                nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            nursery.start_soon(SocketStream(way.client).send_all, bytes(8 << 20))
            await wait_all_tasks_blocked(0.1)
            reset(way.server)


async def test_cancelled_while_it_waits(way: Way) -> None:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert way.pipes.count == 0


@pytest.mark.parametrize("how", ["cancelled", "sink reset", "source reset"])
async def test_no_pipe_brings_bytes_of_another_connection(how: str) -> None:
    """However a connection ends while its bytes are in a pipe: whoever takes the next pipe finds it empty."""
    pipes = Pipes()
    for _ in range(SPARE_PIPES + 2):
        way = Way(pipes)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                async def run(way: Way = way, scope: trio.CancelScope = nursery.cancel_scope) -> None:
                    try:
                        await way.run()
                    except trio.BrokenResourceError:
                        scope.cancel()

                await fill(way)
                nursery.start_soon(run)
                nursery.start_soon(SocketStream(way.client).send_all, b"s" * (8 << 20))
                while pipes.count <= len(pipes._spare):     # until one holds bytes that the sink does not take
                    await SocketStream(way.server).receive_some()
                    await wait_all_tasks_blocked(0.02)
                if how == "sink reset":
                    reset(way.server)
                elif how == "source reset":
                    reset(way.client)
                    reset(way.server)
                else:
                    nursery.cancel_scope.cancel()
        way.close()
        assert [waiting(pipe.out, termios.FIONREAD) for pipe in pipes._spare] == [0] * pipes.count
    way = Way(pipes)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.run)
            nursery.start_soon(SocketStream(way.client).send_all, b"m" * (4 << 20))
            seen = b""
            while len(seen) < 4 << 20:
                seen += await SocketStream(way.server).receive_some()
            nursery.cancel_scope.cancel()
    assert set(seen) == set(b"m")
    way.close()
    pipes.give_up()


class NotPipes(Pipes):
    """The kernel does not splice into what these are."""

    asked = 0

    def take_nowait(self) -> Pipe | None:
        pipe = super().take_nowait()
        if pipe is not None:
            self.asked += 1
            for end in pipe:
                os.dup2(self.null, end)
        return pipe

    def __init__(self, null: int) -> None:
        super().__init__()
        self.null = null


async def test_where_splice_is_not_to_be_had_bytes_are_copied() -> None:
    with socket.socket() as null:
        pipes = NotPipes(null.fileno())
        way = Way(pipes)
        try:
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    left = await fill(way)
                    nursery.start_soon(way.run)
                    while left:
                        left -= len(await SocketStream(way.server).receive_some())
                    nursery.cancel_scope.cancel()
        finally:
            way.close()
        assert pipes.asked == 1     # and never again
        assert pipes.count == 0


# -- pipes


def test_pipes_are_counted_and_kept() -> None:
    pipes = Pipes(6)
    taken = [pipes.take_nowait() for _ in range(7)]
    assert taken[6] is None
    held = [pipe for pipe in taken if pipe is not None]
    assert len(held) == 6
    assert all(fcntl.fcntl(pipe.into, fcntl.F_GETPIPE_SZ) >= LARGE_BYTES for pipe in held)
    for pipe in held:
        pipes.give_back(pipe, is_empty=True)
    assert pipes.count == SPARE_PIPES
    one = pipes.take_nowait()
    assert one in held
    assert isinstance(one, Pipe)
    pipes.give_back(one, is_empty=False)
    assert pipes.count == SPARE_PIPES - 1
    pipes.give_up()
    assert (pipes.count, pipes.take_nowait()) == (0, None)


def test_a_large_piece_may_wait_for_few() -> None:
    """The others' are small, until one of them has gone; and small ones count for nothing."""
    pipes = Pipes(2)
    with contextlib.ExitStack() as first, contextlib.ExitStack() as others:
        others.enter_context(pipes.keeping(pipes.room()[:PIECE_BYTES]))
        others.enter_context(pipes.keeping(pipes.room()))
        assert len(pipes.room()) == LARGE_BYTES
        room = pipes.room()
        room[:5] = b"first"
        kept = first.enter_context(pipes.keeping(room))
        assert len(pipes.room()) == PIECE_BYTES
        pipes.room()[:5] = b"other"
        assert (kept[:5], len(kept)) == (b"first", LARGE_BYTES)
        first.close()
        assert len(pipes.room()) == LARGE_BYTES
