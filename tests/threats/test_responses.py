"""Whose answer is this? S14, S16 to S18: an upstream that answers wrongly, too much, too early or unasked.

The first user asks on a connection that the upstream then spoils; the second must get the answer to what it asked, and nothing
that was said before. What the first gets is one well-formed answer, or the reason why there is none.
"""

import socket
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.net.socket_stream import SocketStream
from tests.helpers.attack import Chain, request
from tests.helpers.mesh import APP
from tests.helpers.strict_http import Incomplete, Message, read_requests, read_responses

POISON = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
OK = b"HTTP/1.1 200 OK\r\n"
FIRST = request(b"/first")


@dataclass
class Upstream:
    """Says `script` to the first request on its first connection, the truth to all others.

    Args:
        script: what to write, piece by piece.
        ends: close behind it.
        before_body: answer as soon as the head is there.
    """

    script: tuple[bytes, ...]
    ends: bool = False
    before_body: bool = False
    asked: list[Message] = field(default_factory=list)
    connections: int = 0

    async def serve(self, sock: socket.socket) -> None:
        self.connections += 1
        is_spoilt = self.connections == 1
        stream, data, at = SocketStream(sock), b"", 0
        try:
            while piece := await stream.receive_some():
                data += piece
                if is_spoilt and (list(read_requests(data)) or (self.before_body and b"\r\n\r\n" in data)):
                    is_spoilt = False
                    for said in self.script:
                        await stream.send_all(said)
                        await wait_all_tasks_blocked()
                    if self.ends:
                        return
                    for message, end in read_requests(data):
                        self.asked.append(message)
                        at = end
                for message, end in read_requests(data, at):
                    self.asked.append(message)
                    at = end
                    await stream.send_all(honest(message.start[1]))
        except trio.BrokenResourceError:
            pass


def honest(target: bytes) -> bytes:
    return OK + b"content-length: %d\r\n\r\n%b" % (len(target), target)


async def first_and_second(nursery: trio.Nursery, upstream: Upstream, first: bytes = FIRST) -> bytes:
    """What the first user got, after it was made sure what the second got."""
    chain = Chain(nursery)
    chain.bench.dialer.servers[APP] = upstream.serve
    answer = await chain.say(first)
    assert b"poison" not in answer
    for target in (b"/second", b"/third"):
        (message,) = read_responses(await chain.say(request(target)))
        assert (message.start[0], message.body) == (b"200", target)
    return answer


def status(answer: bytes) -> int:
    """Of the one answer."""
    (message,) = read_responses(answer)
    return int(message.start[0])


FIELDS = {
    "CL-TE": b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + POISON,
    "TE-CL": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" + POISON,
    "CL-CL": b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello" + POISON,
    "CL-CL-equal": b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello" + POISON,
    "CL-list": b"content-length: 5, 5\r\n\r\nhello" + POISON,
    "CL-plus": b"content-length: +5\r\n\r\nhello" + POISON,
    "CL-minus": b"content-length: -5\r\n\r\nhello" + POISON,
    "CL-hex": b"content-length: 0x5\r\n\r\nhello" + POISON,
    "CL-empty": b"content-length:\r\n\r\n" + POISON,
    "CL-huge": b"content-length: 18446744073709551621\r\n\r\nhello" + POISON,
    "CL-folded": b"content-length:\r\n 5\r\n\r\nhello" + POISON,
    "CL-space": b"content-length : 5\r\n\r\nhello" + POISON,
    "TE-twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + POISON,
    "TE-list": b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + POISON,
    "TE-identity": b"transfer-encoding: identity\r\n\r\n" + POISON,
    "TE-x": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + POISON,
    "TE-tab": b"transfer-encoding: chunked\x0b\r\n\r\n0\r\n\r\n" + POISON,
    "bare-lf": b"content-length: 0\n\n" + POISON,
    "bare-lf-field": b"a: b\ncontent-length: 5\r\n\r\nhello" + POISON,
    "bare-cr": b"a: b\rcontent-length: 5\r\n\r\nhello" + POISON,
    "nul": b"a: \x00\r\ncontent-length: 0\r\n\r\n" + POISON,
    "control": b"a: \x01\r\ncontent-length: 0\r\n\r\n" + POISON,
    "folded": b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n" + POISON,
    "no-colon": b"abc\r\ncontent-length: 0\r\n\r\n" + POISON,
    "no-name": b": abc\r\ncontent-length: 0\r\n\r\n" + POISON,
    "101-fields": b"a: b\r\n" * 101 + b"content-length: 0\r\n\r\n" + POISON,
    "64-KiB": b"a: " + b"b" * 65536 + b"\r\ncontent-length: 0\r\n\r\n" + POISON,
    "nominates-CL": b"connection: content-length\r\ncontent-length: 5\r\n\r\nhello" + POISON,
    "nominates-cookie": b"connection: set-cookie\r\nset-cookie: a\r\ncontent-length: 0\r\n\r\n" + POISON,
    "chunk-size-first": b"transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + POISON,
}
WHOLE = {
    "not-http": b"SSH-2.0-x\r\n\r\n" + POISON,
    "http-2": b"HTTP/2 200 OK\r\ncontent-length: 0\r\n\r\n" + POISON,
    "http-1.2": b"HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n" + POISON,
    "http-0.9": b"<html>poison</html>\r\n\r\n",
    "status-099": b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n" + POISON,
    "status-600": b"HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n" + POISON,
    "status-20": b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n" + POISON,
    "status-2000": b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n" + POISON,
    "status-+20": b"HTTP/1.1 +20 OK\r\ncontent-length: 0\r\n\r\n" + POISON,
    "phrase-control": b"HTTP/1.1 200 O\x01K\r\ncontent-length: 0\r\n\r\n" + POISON,
    "1.0-chunked": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + POISON,
    "empty-line-first": b"\r\n" + OK + b"content-length: 0\r\n\r\n" + POISON,
    "space-first": b" " + OK + b"content-length: 0\r\n\r\n" + POISON,
    "101": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + POISON,
    "101-websocket": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n" + POISON,
    "204-with-CL": b"HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\nhello" + POISON,
    "204-chunked": b"HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + POISON,
    "100-with-CL": b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\nhello" + POISON,
    "nothing": b"",
    "half-a-head": OK + b"content-le",
}
BAD = [
    *(pytest.param(OK + text, id=f"S18-{name}") for name, text in FIELDS.items()),
    *(pytest.param(text, id=f"{'S17' if name[:1] in '12ni' and name[:2] != 'no' else 'S18'}-{name}") for name, text in WHOLE.items()),
]


@pytest.mark.parametrize("script", BAD)
async def test_an_answer_with_two_readings_is_none(script: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whole, and in two pieces; with the connection's end behind it."""
    upstreams = [Upstream((script,), ends=True), Upstream((script[:20], script[20:]), ends=True)]
    for upstream in upstreams:
        answer = await first_and_second(nursery, upstream)
        # A body that turns out to be bad in its middle is cut: there is no answer with an end.
        assert answer == b"" or status(answer) == 502, answer
        assert upstream.connections == 2


@pytest.mark.parametrize("script", [
    pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + OK + b"content-length: 0\r\n\r\n", id="S17-nine-interim"),
    pytest.param(b"HTTP/1.1 102 Processing\r\n\r\n" * 10_000, id="S17-interim-flood"),
])
async def test_no_more_than_eight_interim_answers(script: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    upstream = Upstream((script,))
    *interim, message = read_responses(await first_and_second(nursery, upstream))
    assert message.start[0] == b"502"
    assert upstream.connections == 2
    assert len(interim) == 8


BEHIND = {
    "length": OK + b"content-length: 5\r\n\r\nhello",
    "chunked": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "trailers": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nset-cookie: poison\r\nx-bartizan-reason: poison\r\n\r\n",
    "no-body": OK + b"content-length: 0\r\n\r\n",
    "204": b"HTTP/1.1 204 No\r\n\r\n",
    "204-CL-0": b"HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\n",
    "304-chunked": b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" + OK + b"content-length: 5\r\n\r\nhello",
    "eight-interim": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 8 + OK + b"content-length: 5\r\n\r\nhello",
    "100-unasked": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 5\r\n\r\nhello",
    "early-error": b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno",
    "redirect": b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
}
TOO_MUCH = {
    "an-answer": POISON, "bytes": b"poison", "crlf": b"\r\n", "lf": b"\n", "nul": b"\x00", "101": b"HTTP/1.1 101 poison\r\n\r\n",
    "last-chunk": b"0\r\n\r\n",
}


@pytest.mark.parametrize("more", TOO_MUCH.values(), ids=[f"S18-{name}" for name in TOO_MUCH])
@pytest.mark.parametrize("answer", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("is_later", [False, True], ids=["at-once", "later"])
async def test_what_an_upstream_says_behind_its_answer_is_nobodys(
    answer: bytes, more: bytes, is_later: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """S17, S18: in the same write, or while the connection lies idle."""
    upstream = Upstream((answer, more) if is_later else (answer + more,))
    first = await first_and_second(nursery, upstream)
    (message,) = [message for message in read_responses(first) if message.start[0] >= b"200"]
    assert message.start[0] in answer.rpartition(b"HTTP/1.1 ")[2][:3]
    assert message.body == (b"hello" if b"hello" in answer else b"no" if b"413" in answer else b"")
    assert message.trailers == []
    assert upstream.connections == 2


@pytest.mark.parametrize("more", [
    pytest.param(b"", id="S17-HEAD"), pytest.param(b"hello", id="S17-HEAD-body"),
    pytest.param(b"hello" + POISON, id="S17-HEAD-body-poison"),
])
async def test_an_answer_to_head_has_no_body(more: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    upstream = Upstream((OK + b"content-length: 5\r\n\r\n" + more,))
    answer = await first_and_second(nursery, upstream, request(b"/first", method=b"HEAD"))
    (message,) = read_responses(answer, [b"HEAD"])
    assert (message.start[0], message.values(b"content-length")) == (b"200", [b"5"])
    assert upstream.connections == (2 if more else 1)


@pytest.mark.parametrize("script", [
    pytest.param(OK + b"content-length: 9\r\n\r\nhello", id="S18-short-length"),
    pytest.param(OK + b"transfer-encoding: chunked\r\n\r\n9\r\nhello", id="S18-short-chunk"),
    pytest.param(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", id="S18-no-last-chunk"),
    pytest.param(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", id="S18-no-end-of-trailers"),
    pytest.param(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n", id="S18-bad-chunk"),
    pytest.param(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloxx0\r\n\r\n", id="S18-bad-chunk-end"),
])
async def test_a_part_of_an_answer_is_never_a_whole_one(
    script: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    upstream = Upstream((script[:-1], script[-1:]), ends=True)
    chain = Chain(nursery)
    chain.bench.dialer.servers[APP] = upstream.serve
    stream = await chain.connect()
    await stream.send_all(request(b"/first"))
    answer = b""
    try:
        while piece := await stream.receive_some():
            answer += piece
    except trio.BrokenResourceError:
        pass
    assert answer == b"" or status_or_none(answer) in (None, 502), answer
    await stream.aclose()
    (message,) = read_responses(await chain.say(request(b"/second")))
    assert message.body == b"/second"


def status_or_none(answer: bytes) -> int | None:
    """None where a strict reader waits for more."""
    try:
        return status(answer)
    except Incomplete:
        return None


# -- S16: answers before the body has come


@pytest.mark.parametrize("script", [
    pytest.param(b"HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n", id="S16-417"),
    pytest.param(OK + b"content-length: 2\r\n\r\nok", id="S16-200"),
    pytest.param(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n", id="S16-413"),
    pytest.param(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n", id="S16-401"),
    pytest.param(b"HTTP/1.1 302 Go\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", id="S16-302"),
])
@pytest.mark.parametrize("fields", [
    pytest.param((b"content-length: 200", b"expect: 100-continue"), id="expected"), pytest.param((b"content-length: 200",), id="length"),
    pytest.param((b"transfer-encoding: chunked", b"expect: 100-continue"), id="expected-chunked"),
    pytest.param((b"transfer-encoding: chunked",), id="chunked"),
])
async def test_an_answer_before_the_body_ends_both_connections(
    script: bytes, fields: tuple[bytes, ...], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The client may send the body all the same, or not: what follows cannot be told from it, so nothing is read."""
    upstream = Upstream((script,), before_body=True)
    chain = Chain(nursery)
    chain.bench.dialer.servers[APP] = upstream.serve
    answer = await chain.say(request(b"/first", *fields, method=b"POST"), request(b"/smuggled"))
    (message,) = read_responses(answer)
    assert message.values(b"connection") == [b"close"]
    assert message.start[0] == script[9:12]
    (second,) = read_responses(await chain.say(request(b"/second")))
    assert second.body == b"/second"
    assert [asked.start[1] for asked in upstream.asked] == [b"/second"]
    assert upstream.connections == 2


async def test_S16_the_body_comes_after_100(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    upstream = Upstream((b"HTTP/1.1 100 Continue\r\n\r\n",), before_body=True)
    chain = Chain(nursery)
    chain.bench.dialer.servers[APP] = upstream.serve
    asking = request(b"/first", b"content-length: 5", b"expect: 100-continue", method=b"POST")
    answer = await chain.say(asking, b"hello" + request(b"/second"))
    assert [message.start[0] for message in read_responses(answer)] in ([b"100", b"200"], [b"100", b"200", b"200"])
    assert upstream.asked[0].body == b"hello"
    assert [asked.start[1] for asked in upstream.asked][:2] in ([b"/first"], [b"/first", b"/second"])
    assert len(upstream.asked) == answer.count(b"200 OK")


# -- S14: what answers an upgrade that was never passed on


@pytest.mark.parametrize(("script", "expected"), [
    pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n" + POISON, 502, id="S14-101"),
    pytest.param(OK + b"content-length: 5\r\n\r\nhello" + POISON, 200, id="S14-200"),
    pytest.param(b"HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n" + POISON, 426, id="S14-426"),
])
async def test_no_tunnel_where_no_route_opted_in(script: bytes, expected: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    key = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = request(b"/first", b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13", key)
    upstream = Upstream((script,))
    answer = await first_and_second(nursery, upstream, upgrade)
    assert status(answer) == expected
    assert upstream.connections == 2
