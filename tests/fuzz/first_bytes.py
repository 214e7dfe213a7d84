"""Any bytes: what is recognised in them stays so whatever follows, and whatever a strict reader takes for a request is called HTTP."""

from sidecar.protocol.client_hello import ClientHello
from sidecar.protocol.detect import MAX_LOOKAHEAD_BYTES, Detected, recognise
from tests.helpers.strict_http import Ambiguous, Incomplete, read_request_head

PIECES = (
    b"GET / HTTP/1.1\r\n", b"LOOK /a HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI * HTTP/2.0", b"\r\n", b"\n", b"\r", b" ",
    b"\t", b"\x0b", b"\xa0", b"HTTP/1.1",
    b"\x16\x03\x01\x00\x05", b"\x01\x00\x00\x01", b"EHLO a\r\n", b"\x00", b"/", b"*", b"http:", b"A" * 70, b"a" * 9000,
)


def fuzz(data: bytes) -> None:
    whole = recognise(data)
    begun = recognise(data[:len(data) // 2])
    assert begun is None or begun == whole, "more bytes changed an answer"
    if len(data) >= MAX_LOOKAHEAD_BYTES and data[:1] != b"\x16":
        assert whole is not None
    try:
        read_request_head(data[:data.find(b"\r\n\r\n") + 4])
    except (Ambiguous, Incomplete):
        return
    assert whole is Detected.HTTP1
    assert not isinstance(whole, ClientHello)
