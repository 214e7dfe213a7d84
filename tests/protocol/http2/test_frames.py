"""The layout, against hyperframe by way of h2's own bytes, and names."""

import pytest

from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.frames import Code, Http2Error, Setting
from tests.helpers.http2 import GET, h2_peer, split


def test_what_h2_writes_is_read_as_it_was_meant() -> None:
    peer = h2_peer(is_client=True)
    peer.initiate_connection()
    peer.data_to_send()
    peer.send_headers(1, GET)
    peer.send_data(1, b"x" * 300, end_stream=True)
    peer.ping(b"12345678")
    found = split(peer.data_to_send())
    assert [(kind, flags, stream) for kind, flags, stream, _ in found] == [
        (frames.HEADERS, frames.END_HEADERS, 1), (frames.DATA, frames.END_STREAM, 1), (frames.PING, 0, 0),
    ]
    assert found[1][3] == b"x" * 300
    assert found[2][3] == b"12345678"


@pytest.mark.parametrize("rendered", [
    frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 0x01020304}),
    frames.render_window_update(0, 0x01020304),
    frames.render(frames.PING, 0, 0, b"12345678"),
    frames.render_goaway(0x01020304, Code.NO_ERROR, b"why"),
])
def test_h2_reads_what_we_write(rendered: bytes) -> None:
    peer = h2_peer(is_client=False)
    peer.receive_data(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames.render_settings({}))
    assert len(peer.receive_data(rendered)) == 1


def test_a_header_and_its_payload_are_the_whole() -> None:
    assert frames.render_header(frames.DATA, 1, 3, 70000) == b"\x01\x11\x70\x00\x01\x00\x00\x00\x03"
    assert frames.render(frames.DATA, 1, 3, b"abc") == frames.render_header(frames.DATA, 1, 3, 3) + b"abc"


@pytest.mark.parametrize(("code", "name"), [(0, "NO_ERROR"), (0xB, "ENHANCE_YOUR_CALM"), (0xE, "code 14"), (1 << 31, "code 2147483648")])
def test_codes_have_names(code: int, name: str) -> None:
    assert frames.name_of(code) == name


def test_a_flood_is_told_from_a_violation() -> None:
    assert Http2Error(Code.ENHANCE_YOUR_CALM, "").is_flood
    assert not Http2Error(Code.PROTOCOL_ERROR, "").is_flood
