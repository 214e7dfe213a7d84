"""TLS on real sockets with the real clock."""

import socket
from collections.abc import Callable

import pytest
import trio
from OpenSSL import SSL
from trio.lowlevel import wait_readable
from trio.testing import check_half_closeable_stream, wait_all_tasks_blocked

from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.net.tls_socket import MOST_EMPTY_WAKES, MOST_RECORDS, WRITE_BYTES
from sidecar.net.tls_stream import TlsStream
from tests.helpers.sockets import reset, tcp_pair
from tests.helpers.tls import CLIENT, SERVER, connected


async def clogged() -> tuple[TlsStream, TlsStream]:
    """Both directions full. One byte at a time: a write that OpenSSL has begun may be repeated, never shortened."""
    pair = await connected(socket.socketpair())
    for stream in pair:
        stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with pytest.raises(SSL.WantWriteError):
            while True:
                stream.connection.send(b"x")
    return pair


async def test_it_keeps_the_promises_of_a_stream() -> None:
    await check_half_closeable_stream(connected, clogged)


async def test_a_megabyte_both_ways_at_once() -> None:
    client, server = await connected()
    text = bytes(range(256)) * 4096
    got: dict[TlsStream, bytes] = {client: b"", server: b""}

    async def send(stream: TlsStream) -> None:
        await stream.send_all(text)
        await stream.send_eof()

    async def receive(stream: TlsStream) -> None:
        while data := await stream.receive_some():
            got[stream] += data

    async with client, server, trio.open_nursery() as nursery:
        for stream in (client, server):
            nursery.start_soon(send, stream)
            nursery.start_soon(receive, stream)
    assert got == {client: text, server: text}


async def test_what_openssl_holds_already_is_not_waited_for() -> None:
    """The rest of a record, and the end: nothing more comes to the socket."""
    client, server = await connected()
    async with client, server:
        await client.send_all(b"abc")
        assert await server.receive_some(1) == b"a"
        assert await server.receive_some() == b"bc"
        await client.send_eof()
        assert [await server.receive_some() for _ in range(3)] == [b"", b"", b""]
        assert server.receive_nowait() == b""


async def test_an_end_that_was_found_without_waiting_is_not_waited_for() -> None:
    client, server = await connected()
    async with client, server:
        await client.send_eof()
        await wait_readable(server.sock)
        assert server.receive_nowait() == b""
        assert await server.receive_some() == b""


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 200_000])
async def test_whatever_holds_the_bytes(kind: type, size: int) -> None:
    client, server = await connected()
    got = b""
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, kind(b"x" * size))
        while len(got) < size:
            got += await server.receive_some(10_000)
    assert got == b"x" * size


async def test_close_notify_is_an_end() -> None:
    client, server = await connected()
    async with client, server:
        await client.send_all(b"last words")
        client.close()
        assert await server.receive_some() == b"last words"
        assert await server.receive_some() == b""
        assert await server.receive_some() == b""


async def test_one_direction_ends_and_the_other_goes_on() -> None:
    client, server = await connected()
    async with client, server:
        await client.send_eof()
        assert await server.receive_some() == b""
        await server.send_all(b"answer")
        assert await client.receive_some() == b"answer"


async def test_a_cut_is_an_error_and_no_end() -> None:
    client, server = await connected()
    async with client, server:
        await client.send_all(b"half of i")
        client.sock.shutdown(socket.SHUT_WR)
        assert await server.receive_some() == b"half of i"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await server.receive_some()


@pytest.mark.parametrize("end", [TlsStream.abort, lambda stream: reset(stream.sock)])
async def test_a_reset_is_an_error(end: object) -> None:
    client, server = await connected()
    async with server:
        end(client)  # type: ignore[operator]
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"x")


async def test_bytes_that_are_no_record_are_an_error() -> None:
    client, server = await connected()
    async with client, server:
        client.sock.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()


async def test_a_record_that_was_changed_on_the_way_is_an_error() -> None:
    client, server = await connected()
    ours, theirs = tcp_pair()
    with ours, theirs:
        async with client, server:
            client.connection.send(b"pay 100")
            record = bytearray(server.sock.recv(4096))
            record[-1] ^= 1
            client.sock.send(record)
            with pytest.raises(trio.BrokenResourceError):
                await server.receive_some()


async def test_two_tasks_cannot_receive_at_once_nor_send_at_once() -> None:
    client, server = await clogged()
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"x")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await client.send_eof()
        nursery.cancel_scope.cancel()
    client, server = await connected()
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(client.receive_some)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.receive_some()
        nursery.cancel_scope.cancel()


async def test_a_cancelled_receive_loses_nothing() -> None:
    client, server = await connected()
    async with client, server:
        with trio.move_on_after(0) as scope:
            await server.receive_some()
        assert scope.cancelled_caught
        await client.send_all(b"all of it")
        assert await server.receive_some() == b"all of it"


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x05hello", b"\x00" * 600, b""])
async def test_a_handshake_with_something_else(first: bytes) -> None:
    ours, theirs = tcp_pair()
    with ours:
        stream = TlsStream(SERVER, theirs, is_server=True)
        ours.send(first)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(TlsRejected):
            await stream.handshake(TlsRejected)
        stream.close()


async def test_a_handshake_that_is_reset() -> None:
    ours, theirs = tcp_pair()
    stream = TlsStream(CLIENT, ours, is_server=False)
    reset(theirs)
    with pytest.raises(NotVerified, match="connection lost"):
        await stream.handshake(NotVerified)
    stream.close()


async def test_a_handshake_that_is_cancelled_leaves_a_stream_to_close() -> None:
    ours, theirs = tcp_pair()
    with theirs:
        stream = TlsStream(CLIENT, ours, is_server=False)
        with trio.move_on_after(0.01) as scope:
            await stream.handshake(NotVerified)
        assert scope.cancelled_caught
        stream.close()
        stream.close()
        assert ours.fileno() < 0


@pytest.mark.parametrize("is_read_before", [False, True])
async def test_a_write_that_was_cancelled_half_way_cannot_be_mistaken_for_a_whole_one(is_read_before: bool) -> None:
    """Closing after it must not look like a quiet end, for the peer has half a message."""
    client, server = await connected(socket.socketpair())
    async with server:
        with trio.move_on_after(0.01) as scope:
            await client.send_all(b"y" * 10_000_000)
        assert scope.cancelled_caught
        if is_read_before:
            with trio.move_on_after(0.05):
                while await server.receive_some():
                    pass
        client.close()
        with pytest.raises(trio.BrokenResourceError):
            while await server.receive_some():
                pass


async def test_an_end_waits_for_room() -> None:
    """Where the socket is just full, the end must not be lost: the peer would see a truncation, or wait for ever."""
    client, server = await clogged()
    await server.receive_some(1)
    client.connection.send(b"x")    # completes the write that was begun; there is room for no other
    got = b""
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(client.send_eof)
        await wait_all_tasks_blocked()
        while data := await server.receive_some():
            got += data
    assert set(got) == {ord("x")}


async def test_after_the_end_nothing_can_be_sent() -> None:
    client, server = await connected()
    async with client, server:
        await client.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")
        await client.send_eof()
        await server.send_all(b"answer")
        assert await client.receive_some() == b"answer"


async def test_a_receive_that_is_cancelled_when_the_bytes_are_there_loses_nothing() -> None:
    one, other = await connected()
    await other.send_all(b"hello")
    await wait_readable(one.sock)
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.receive_some()
    assert scope.cancelled_caught
    assert await one.receive_some() == b"hello"
    one.close()
    other.close()


# -- into a room that others use, too


async def read_into(stream: TlsStream, room: memoryview) -> bytes:
    return bytes(await stream.receive_into(lambda: room))


@pytest.mark.parametrize("size", [16384, 40000, 1 << 18])
async def test_into_a_room_all_that_is_here_at_once(size: int) -> None:
    one, other = await connected()
    room, text, pieces = memoryview(bytearray(size)), bytes(range(256)) * 4096, []
    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(other.send_all, text)
        while sum(map(len, pieces)) < len(text):
            pieces.append(await read_into(one, room))
    assert b"".join(pieces) == text
    assert one.received == other.sent == 1 + len(text)      # one byte is of the handshake's


async def test_into_a_room_of_tiny_records_so_many_at_once() -> None:
    one, other = await connected()
    async with one, other:
        for _ in range(MOST_RECORDS + 1):
            await other.send_all(b"x")
        room = memoryview(bytearray(WRITE_BYTES))
        assert await read_into(one, room) == b"x" * MOST_RECORDS
        assert await read_into(one, room) == b"x"


async def test_into_a_room_what_openssl_holds_is_not_waited_for() -> None:
    one, other = await connected()
    async with one, other:
        await other.send_all(b"hello")
        assert await one.receive_some(2) == b"he"
        assert await read_into(one, memoryview(bytearray(WRITE_BYTES))) == b"llo"


async def test_into_a_room_an_end_comes_behind_what_was_sent_before_it() -> None:
    """Its socket stays open, so that nothing else wakes who waits there."""
    one, other = await connected()
    async with one, other:
        await other.send_all(b"last words")
        await other.send_eof()
        room = memoryview(bytearray(WRITE_BYTES))
        assert await read_into(one, room) == b"last words"
        assert [await read_into(one, room) for _ in range(2)] == [b"", b""]
        await one.send_all(b"answer")
        assert await other.receive_some() == b"answer"


@pytest.mark.parametrize("break_it", [
    lambda stream: stream.sock.shutdown(socket.SHUT_WR),
    lambda stream: stream.sock.send(b"GET / HTTP/1.1\r\n\r\n"),
], ids=["cut", "no record"])
@pytest.mark.parametrize("has_more", [True, False])
async def test_into_a_room_a_cut_is_an_error_and_no_end(break_it: Callable[[TlsStream], object], has_more: bool) -> None:
    one, other = await connected()
    async with one, other:
        if has_more:
            await other.send_all(b"half of i")
        break_it(other)
        room = memoryview(bytearray(WRITE_BYTES))
        if has_more:
            assert await read_into(one, room) == b"half of i"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await read_into(one, room)


async def test_into_a_room_one_task_at_a_time_and_cancelled_nothing_is_lost() -> None:
    one, other = await connected()
    room = memoryview(bytearray(WRITE_BYTES))
    async with one, other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_into, one, room)
            await wait_all_tasks_blocked()
            for again in (read_into(one, room), one.receive_some()):
                with pytest.raises(trio.BusyResourceError):
                    await again
            nursery.cancel_scope.cancel()
        await other.send_all(b"hello")
        await wait_readable(one.sock)
        with trio.CancelScope() as scope:
            scope.cancel()
            await read_into(one, room)
        assert scope.cancelled_caught
        assert await read_into(one, room) == b"hello"
    with pytest.raises(trio.ClosedResourceError):
        await read_into(one, room)


# -- who reads all that there is


async def received(stream: TlsStream) -> bytes:
    while True:
        await stream.wait_input()
        if (data := stream.receive_nowait()) is not None:
            return data


async def test_input_is_waited_for_unless_it_is_here_already() -> None:
    one, other = await connected()
    async with one, other, trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await received(one))

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert got == []
        await other.send_all(b"first")
        await wait_all_tasks_blocked()
        assert got == [b"first"]
        await other.send_all(b"a whole record")
        assert await one.receive_some(1) == b"a"
        assert await received(one) == b" whole record"
        await other.send_all(b"x" * 3 * 16384)
        assert b"".join([await received(one) for _ in range(3)]) == b"x" * 3 * 16384
        await other.send_eof()
        assert [await received(one) for _ in range(2)] == [b"", b""]


class Told:
    """Reads when it is told."""

    def __init__(self, stream: TlsStream) -> None:
        self.stream = stream
        self.got: list[bytes | None] = []
        self.heard = trio.Event()

    def look(self) -> None:
        self.got.append(self.stream.receive_nowait())
        self.heard.set()

    def crash(self, bug: Exception) -> None:
        raise AssertionError from bug


async def test_who_has_no_task_is_told_of_input_unless_it_is_here_already() -> None:
    one, other = await connected()
    listener = Told(one)
    assert one.receive_nowait() is None     # the handshake is all
    async with one, other:
        one.tell_input(listener)
        await wait_all_tasks_blocked()
        assert listener.got == []
        await other.send_all(b"first")
        await listener.heard.wait()
        assert listener.got.pop() == b"first"
        await other.send_all(b"a whole record")
        assert await one.receive_some(1) == b"a"
        one.tell_input(listener)
        assert listener.got.pop() == b" whole record"
        listener.heard = trio.Event()
        one.tell_input(listener)
        await other.send_eof()
        await listener.heard.wait()
        one.tell_input(listener)
        assert listener.got == [b"", b""]
    with pytest.raises(trio.ClosedResourceError):
        one.tell_input(listener)


async def test_who_is_told_again_and_again_of_no_data_hears_of_a_broken_peer() -> None:
    one, other = await connected()
    listener = Told(one)
    assert one.receive_nowait() is None     # the handshake is all
    async with one, other:
        for _ in range(MOST_EMPTY_WAKES):
            one.tell_input(listener)
        with pytest.raises(trio.BrokenResourceError, match="no data"):
            one.tell_input(listener)
