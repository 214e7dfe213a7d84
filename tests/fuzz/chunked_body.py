"""Any bytes, whole or one by one: the same payload with the same rest behind it, more to come, or a ValueError.

Where a strict reader finds a body, ours finds the same.
"""

from sidecar.protocol.chunked import ChunkDecoder
from tests.helpers.strict_http import Ambiguous, Incomplete, read_chunks

PIECES = (
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"1\r\na\r\n", b"ffffffffffffffff", b"7fffffffffffffff", b"00000000000000000", b"0x5", b";a", b";a=b",
    b';a="', b'"', b"\\",
    b"A: b\r\n", b"\r\n\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x00", b"+", b"-", b"_", b"g",
)


def fuzz(data: bytes) -> None:
    whole = decode([data])
    assert decode([data[at:at + 1] for at in range(len(data))]) == whole
    assert decode([data[:len(data) // 3], data[len(data) // 3:]]) == whole
    if whole is not None:
        assert len(whole[0]) <= len(data)
    try:
        body, length = read_chunks(data)
    except (Ambiguous, Incomplete):
        return
    # Ours bounds what may stand behind the last chunk, the strict reader does not.
    assert whole == (body, True, data[length:]) or (whole is None and len(data) > 16384)


def decode(pieces: list[bytes]) -> tuple[bytes, bool, bytes] | None:
    """Payload, whether it is complete, what is left over; None: refused."""
    decoder, payload = ChunkDecoder(), b""
    try:
        for number, piece in enumerate(pieces):
            payload += decoder.feed(piece)
            if decoder.is_done:
                return payload, True, decoder.leftover + b"".join(pieces[number + 1:])
    except ValueError:
        return None
    return payload, False, b""
