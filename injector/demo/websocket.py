"""As much of WebSocket as client and application of the demo need: a handshake, and short text messages. Spec: RFC 6455."""

import base64
import hashlib
from io import BufferedIOBase

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"   # s1.3
TEXT, CLOSE = 0x81, 0x88    # with FIN set
MASKED = 0x80
MOST_BYTES = 125            # beyond it the length would take another field


def accept(key: str) -> str:
    """What a server answers to `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def frame(payload: bytes, mask: bytes = b"", kind: int = TEXT) -> bytes:
    """
    Args:
        mask: four bytes if a client sends it, none if a server does.
    """
    assert len(payload) <= MOST_BYTES
    return bytes([kind, len(payload) | (MASKED if mask else 0)]) + mask + _masked(payload, mask)


def read_frame(stream: BufferedIOBase) -> tuple[int, bytes]:
    """(kind, payload) of the next one; kind 0 at the end of the stream."""
    head = stream.read(2)
    if len(head) < 2:
        return 0, b""
    mask = stream.read(4) if head[1] & MASKED else b""
    return head[0], _masked(stream.read(head[1] & ~MASKED), mask)


def _masked(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload)) if mask else payload
