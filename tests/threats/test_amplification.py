"""L7: what one byte of an attacker's can cost at most, in bytes that we send or hold. Time is nobody's to assert; bytes are counted."""

import tracemalloc

import pytest

from sidecar.model.errors import ProtocolViolation
from sidecar.protocol.chunked import ChunkDecoder
from sidecar.protocol.head import read_request
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.frames import Setting, render
from sidecar.proxy.respond import explain
from tests.helpers.http2 import GET, data, headers, reset, server

MOST = 20       # bytes for a byte; a hundred is what Envoy calls a vulnerability
SENT_BYTES = 200_000

FLOODS = {
    "ping": [render(frames.PING, 0, 0, b"12345678")],
    "settings": [frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 1})],
    "empty-data": [headers(1, GET, frames.END_HEADERS), *[data(1, b"")] * 50],
    "window": [frames.render_window_update(0, 1)],
    "priority": [render(frames.PRIORITY, 0, 1, b"\0\0\0\0\x10")],
    "unknown": [render(0xF0, 0, 0, b"")],
    "rapid-reset": [piece for stream in range(1, 4001, 2) for piece in (headers(stream, GET), reset(stream))],
    "open-streams": [headers(stream, GET, frames.END_HEADERS) for stream in range(1, 4001, 2)],
    "continuation": [render(frames.HEADERS, 0, 1, b""), *[render(frames.CONTINUATION, 0, 1, b"")] * 50],
    "many-fields": [headers(stream, [*GET, *[(b"a", b"")] * 90]) for stream in range(1, 401, 2)],
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=[f"L7-{name}" for name in FLOODS])
def test_frames(flood: list[bytes]) -> None:
    """However long it lasts: what is answered, and what is held while nobody takes the answers."""
    fed, sent = server(), 0
    answered = 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        while sent < SENT_BYTES and fed.error is None:
            for piece in flood:
                fed.feed(piece)
                sent += len(piece)
                answered += len(fed.output())
                if fed.error is not None:
                    break
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert answered <= MOST * sent
    assert held <= max(MOST * sent, 1 << 20)


@pytest.mark.parametrize("request_", [
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="L7-no-host"),
    pytest.param(b"\x01 / HTTP/1.1\r\n\r\n", id="L7-control"),
    pytest.param(b"GET / HTTP/9.9\r\nhost: a\r\n\r\n", id="L7-version"),
    pytest.param(b"GET /../ HTTP/1.1\r\nhost: a\r\n\r\n", id="L7-dots"),
])
def test_a_refusal_is_no_weapon(request_: bytes) -> None:
    """It explains itself at some length, once for each connection, to who has shown that it is there."""
    with pytest.raises(ProtocolViolation) as caught:
        read_request(request_)
    assert len(explain(caught.value.reason, "", caught.value.detail)) <= 60 * len(request_)


def test_L7_tiny_chunks_are_held_no_longer_than_they_take() -> None:
    decoder, held = ChunkDecoder(), b""
    for _ in range(1000):
        held = decoder.feed(b"1\r\na\r\n")
        assert held == b"a"
