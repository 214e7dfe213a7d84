"""Chunked bodies, each whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.chunked import (
    LAST_CHUNK,
    MAX_EXTENSIONS_BYTES,
    MAX_LINE_BYTES,
    MAX_TRAILERS_BYTES,
    ChunkDecoder,
    frame_chunk,
)


def _decode(pieces: list[bytes]) -> tuple[bytes, bool, bytes]:
    """Payload, whether it is complete, what is left over."""
    decoder = ChunkDecoder()
    payload = b""
    for number, piece in enumerate(pieces):
        payload += decoder.feed(piece)
        if decoder.is_done:
            return payload, True, decoder.leftover + b"".join(pieces[number + 1:])
    return payload, False, decoder.leftover


def _bytes(data: bytes) -> list[bytes]:
    return [data[i:i + 1] for i in range(len(data))]


@pytest.mark.parametrize(
    ("data", "payload", "leftover"),
    [
        (b"0\r\n\r\n", b"", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", b"hello world", b"GET /"),
        (b"A\r\n0123456789\r\n00\r\n\r\n\r\n", b"0123456789", b"\r\n"),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", b""),
        (b'1;a;b=c;d="e;\\" f"\r\nx\r\n0;z\r\n\r\n', b"x", b""),
        (b"0\r\nGrpc-Status: 0\r\nHost: evil\r\nEmpty:\r\n\r\nrest", b"", b"rest"),
        (b"1;" + b"a" * (MAX_LINE_BYTES - 2) + b"\r\nx\r\n0\r\n\r\n", b"x", b""),
        (b"0\r\nA:" + b"a" * (MAX_TRAILERS_BYTES - 4) + b"\r\n\r\n", b"", b""),
    ],
)
def test_good(data: bytes, payload: bytes, leftover: bytes) -> None:
    assert _decode([data]) == (payload, True, leftover)
    assert _decode(_bytes(data)) == (payload, True, leftover)
    whole = len(data) - len(leftover)
    assert not any(_decode([data[:end]])[1] for end in range(whole))


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n", b" 5\r\nhello\r\n", b"5 \r\nhello\r\n", b"5 ;a\r\nhello\r\n", b"5\t\r\nhello\r\n", b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n", b"0x5\r\nhello\r\n",
        b"5_0\r\nhello\r\n", b"g\r\n", b"00000000000000005\r\nhello\r\n",
        b"8000000000000000\r\n", b"ffffffffffffffff\r\n",
        b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n",
        b"5\r\nhellox\r\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n", b"5;a\rb\r\nhello\r\n", b"5;\r\nhello\r\n",
        b"5;a=\r\nhello\r\n", b'5;a="b\r\nhello\r\n', b"5;a b\r\nhello\r\n", b"5;a\x00\r\nhello\r\n",
        b"\xd9\xa5\r\nhello\r\n", b"GET / HTTP/1.1\r\n",
        b"0\r\nno colon\r\n\r\n", b"0\r\n: x\r\n\r\n", b"0\r\nA : x\r\n\r\n", b"0\r\nA: x\r\n y\r\n\r\n",
        b"0\r\nA: \x01\r\n\r\n", b"0\r\nA: x\n\r\n\r\n", b"0\r\n\n\r\n",
        b"1;" + b"a" * (MAX_LINE_BYTES - 1) + b"\r\nx\r\n",
        b"1" * (MAX_LINE_BYTES + 2),
        (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * (MAX_EXTENSIONS_BYTES // 4001 + 1),
        b"0\r\nA:" + b"a" * (MAX_TRAILERS_BYTES - 3) + b"\r\n\r\n",
        b"0\r\nA:" + b"a" * MAX_TRAILERS_BYTES,
        b"0\r\n" + b"A: a\r\n" * (MAX_TRAILERS_BYTES // 6 + 1),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        _decode([data])
    with pytest.raises(ValueError):
        _decode(_bytes(data))


def test_payload_is_not_held_back() -> None:
    decoder = ChunkDecoder()
    assert decoder.feed(b"ffff\r\nab") == b"ab"
    assert decoder.feed(b"c") == b"c"
    assert decoder.feed(b"") == b""


def test_an_empty_chunk_cannot_be_framed() -> None:
    with pytest.raises(AssertionError):
        frame_chunk(b"")


@given(st.lists(st.binary(min_size=1, max_size=40)), st.binary(max_size=10), st.data())
def test_what_is_framed_reads_back_however_it_is_cut(chunks: list[bytes], following: bytes, data: st.DataObject) -> None:
    text = b"".join(map(frame_chunk, chunks)) + LAST_CHUNK + following
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert _decode(pieces) == (b"".join(chunks), True, following)


_PIECES = st.sampled_from([b"0", b"1", b"5", b"a", b"\r\n", b"\n", b"\r", b";", b":", b" ", b"A: b", b"x"])


@given(st.lists(_PIECES, max_size=12).map(b"".join))
def test_any_bytes_the_same_verdict_whole_and_byte_by_byte(data: bytes) -> None:
    try:
        whole = _decode([data])
    except ValueError:
        with pytest.raises(ValueError):
            _decode(_bytes(data))
        return
    assert _decode(_bytes(data)) == whole
