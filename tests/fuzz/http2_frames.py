"""Any bytes behind the opening, whole or one by one, at either end: the same events and answers, or the one error that ends a connection.

A head that is taken goes on as HTTP/1.1 with one reading, a body is as long as was announced, and what we say are whole frames.
"""

from typing import Any

from sidecar.model.message import BodyKind
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.control import MAX_STREAMS
from sidecar.protocol.http2.engine import Engine
from sidecar.protocol.http2.events import DataReceived, RequestReceived, ResponseReceived, StreamReset, TrailersReceived
from sidecar.protocol.http2.flood import MAX_QUEUED_BYTES
from tests.fuzz.request_head import check_rendered as check_request
from tests.fuzz.response_head import check_rendered as check_response
from tests.helpers.http2 import ENDS, GET, OK, OPENING, POST, SERVER_OPENING, Fed, block, data, headers, reset, split

METHODS = (b"GET", b"HEAD", b"POST")
PIECES = (
    b"\x00", b"\x01",       # which end we are
    headers(1, GET), headers(1, POST, frames.END_HEADERS), headers(3, GET),
    headers(3, [*POST, (b"content-length", b"5")], frames.END_HEADERS),
    headers(5, [*GET, (b"host", b"other"), (b"te", b"trailers")]), headers(1, OK),
    headers(3, [*OK, (b"content-length", b"5")], frames.END_HEADERS),
    headers(1, [(b":status", b"103")], frames.END_HEADERS), headers(1, [(b"x-a", b"b"), (b"content-length", b"1")]),
    headers(7, [(b":method", b"GET"), (b":path", b"/ HTTP/1.1\r\nx: y"), (b":scheme", b"http"), (b":authority", b"a@b")]),
    frames.render(frames.HEADERS, 0, 7, block(GET)[:3]), frames.render(frames.CONTINUATION, frames.END_HEADERS, 7, block(GET)[3:]),
    frames.render(frames.HEADERS, ENDS | frames.PADDED | frames.HAS_PRIORITY, 9, b"\x02\x00\x00\x00\x00\x10" + block(GET) + b"\0\0"),
    data(1, b"hello", 1), data(3, b"hello"), data(3, b"", 1), frames.render(frames.DATA, 9, 3, b"\x01a\0"), reset(1), reset(3),
    frames.render(frames.SETTINGS, 0, 0, b"\x00\x04\x7f\xff\xff\xff"), frames.render(frames.SETTINGS, 0, 0, b"\x00\x01\x00\x00\x00\x00"),
    frames.render(frames.SETTINGS, 1, 0), frames.render(frames.PING, 0, 0, bytes(8)), frames.render(frames.PRIORITY, 0, 1, bytes(5)),
    frames.render_window_update(0, 1 << 30), frames.render_window_update(1, (1 << 31) - 1), frames.render_goaway(1, 0),
    frames.render(frames.PUSH_PROMISE, 4, 1, bytes(4)), frames.render(0x42, 0, 1, b"x"), b"\x82\x84\x86\x41", b"\x3f\xe1\x1f", b"\x20",
    b"\xbe", b"\xff" * 5,
)


def fuzz(text: bytes) -> None:
    is_server, text = text[:1] != b"\x01", text[1:]
    whole, *ended = run(is_server, text, len(text) + 1)
    pieces, *ended_too = run(is_server, text, 1)
    assert ended == ended_too
    # What came in one piece with the error is nobody's any more.
    assert whole == (pieces if ended[0] == "None" else [])
    bodies: dict[int, int | None] = {}
    for event in pieces:
        check(event, bodies)


def run(is_server: bool, text: bytes, step: int) -> tuple[list[Any], str, bytes]:
    """The events, how it ended, and what was said to all that."""
    fed = Fed(Engine(is_server=is_server), step)
    fed.feed(OPENING if is_server else SERVER_OPENING)
    if not is_server:
        for method in METHODS:
            fed.engine.send_head(fed.engine.open_stream(method), [(b":method", method), *GET[1:]], is_end=True)
    fed.output()
    events = fed.feed(text)
    assert fed.engine.open_streams <= MAX_STREAMS
    said = fed.output()
    assert len(said) <= 2 * MAX_QUEUED_BYTES
    kinds = [kind for kind, _, _, _ in split(said)]     # asserts that all are whole
    assert fed.error is None or frames.GOAWAY in kinds
    return events, f"{fed.error!r}", said


def check(event: Any, bodies: dict[int, int | None]) -> None:
    """
    Args:
        bodies: how many bytes are still to come, by stream; None: as many as there are.
    """
    if isinstance(event, RequestReceived | ResponseReceived):
        if isinstance(event, RequestReceived):
            check_request(event.head)
        else:
            check_response(event.head, METHODS[event.stream // 2])
        body = event.head.body
        if event.is_end:
            assert body.kind is BodyKind.NONE
        bodies[event.stream] = None if body.kind is BodyKind.CHUNKED else body.length
    elif isinstance(event, DataReceived):
        left = bodies.get(event.stream)
        if left is not None:
            bodies[event.stream] = left - len(event.data)
            assert len(event.data) <= left
            assert not event.is_end or len(event.data) == left
    elif isinstance(event, TrailersReceived):
        assert not bodies.get(event.stream)
    elif isinstance(event, StreamReset):
        bodies.pop(event.stream, None)
