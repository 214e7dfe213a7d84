"""TLS without waiting, on real sockets. Who waits is tried in test_tls_stream.py."""

import socket

import pytest
import trio
from trio.lowlevel import wait_readable

from sidecar.net.tls_socket import WRITE_BYTES
from tests.helpers.tls import connected


async def test_what_is_here_and_what_there_is_room_for() -> None:
    one, other = await connected(socket.socketpair())
    assert one.receive_nowait() is None
    body, sent = b"x" * 1_000_000, 0
    while taken := other.send_nowait(memoryview(body)[sent:]):
        sent += taken
    received = 0
    while (piece := one.receive_nowait()) is not None:
        received += len(piece)
    assert 0 < sent <= received < min(sent + WRITE_BYTES, len(body))    # a piece may have gone in part
    while received < len(body):
        if sent < len(body):
            sent += other.send_nowait(memoryview(body)[sent:])      # the rest comes first, as OpenSSL wants it
        received += len(one.receive_nowait() or b"")
    await other.send_eof()
    assert one.receive_nowait() == b""
    one.close()
    other.close()


async def test_without_waiting_a_cut_is_an_error_and_a_closed_one_says_so() -> None:
    one, other = await connected()
    other.abort()
    await wait_readable(one.sock)
    with pytest.raises(trio.BrokenResourceError):
        one.receive_nowait()
    with pytest.raises(trio.BrokenResourceError):
        one.send_nowait(b"x")
    for attempt in (other.receive_nowait, lambda: other.send_nowait(b"x")):
        with pytest.raises(trio.ClosedResourceError):
            attempt()
    one.close()


async def test_a_large_write_for_which_there_is_no_room_goes_on_where_it_stood() -> None:
    one, other = await connected()
    text = bytes(range(256)) * 40960
    sent = one.send_nowait(text)
    assert sent < len(text)
    async with one, other, trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, bytearray(text[sent:]))    # the same bytes elsewhere
        received = b""
        while len(received) < len(text):
            received += await other.receive_some()
    assert received == text
    assert one.sent == len(text)
