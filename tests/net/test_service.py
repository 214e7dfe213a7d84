"""Our own endpoints: what a stranger may make them hold."""

import socket

import pytest
import trio

from sidecar.model.call import Answer, Call
from sidecar.net.deadline import Deadline
from sidecar.net.service import serve_calls
from sidecar.net.socket_stream import SocketStream


async def ask(request: bytes, max_body_bytes: int | None = None) -> tuple[bytes, list[bytes]]:
    """What is answered, and the bodies that the handler saw."""
    bodies: list[bytes] = []

    async def handle(call: Call) -> Answer:
        bodies.append(call.body)
        return Answer(200, b"ok", "text/plain")

    ours, theirs = socket.socketpair()
    with trio.fail_after(5), ours, Deadline() as deadline:
        ours.sendall(request)
        ours.shutdown(socket.SHUT_WR)
        limit = {} if max_body_bytes is None else {"max_body_bytes": max_body_bytes}
        await serve_calls(SocketStream(theirs), handle, deadline, **limit)
        theirs.close()
        return ours.recv(65536), bodies


@pytest.mark.parametrize("framing", [b"content-length: 1\r\n\r\nx", b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"])
async def test_an_endpoint_that_expects_no_body_holds_none(framing: bytes) -> None:
    answer, bodies = await ask(b"POST /metrics HTTP/1.1\r\nhost: pod\r\n" + framing)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert bodies == []


async def test_a_body_is_refused_by_its_announcement_before_it_is_sent() -> None:
    answer, bodies = await ask(b"POST / HTTP/1.1\r\nhost: pod\r\ncontent-length: 8388608\r\n\r\n", 1024)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert bodies == []


async def test_a_body_as_long_as_allowed_is_taken() -> None:
    answer, bodies = await ask(b"POST / HTTP/1.1\r\nhost: pod\r\ncontent-length: 4\r\n\r\nbody", 4)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert bodies == [b"body"]
