import io

import pytest

from injector.demo import websocket


def test_the_accept_of_the_rfc() -> None:
    assert websocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="     # s1.3


@pytest.mark.parametrize(("mask", "wire"), [
    (b"", bytes.fromhex("810548656c6c6f")),                             # s5.7
    (bytes.fromhex("37fa213d"), bytes.fromhex("818537fa213d7f9f4d5158")),
])
def test_the_frames_of_the_rfc(mask: bytes, wire: bytes) -> None:
    assert websocket.frame(b"Hello", mask) == wire
    assert websocket.read_frame(io.BytesIO(wire)) == (websocket.TEXT, b"Hello")


def test_the_end_of_the_stream_is_no_frame() -> None:
    assert websocket.read_frame(io.BytesIO(b"")) == (0, b"")
