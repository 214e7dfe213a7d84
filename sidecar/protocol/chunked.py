"""The chunked coding: where a body without a length ends.

Trust: what comes in is the other side's framing, the classic place to hide a second request; what leaves is payload, and the
exact bytes behind it. Extensions are checked, bounded and dropped; trailers checked and bounded. Attacked by
tests/protocol/test_chunked.py.
Spec: RFC 9112 s7.1. Stricter: no whitespace around size and extensions, size below 2**63, no bare line feed anywhere.
"""

import re
from enum import Enum

from sidecar.model.message import Headers

from .framing import TEXT, TOKEN

MAX_LINE_BYTES = 4096
MAX_EXTENSIONS_BYTES = 16384    # in one body: many tiny chunks with long extensions cost the sender nothing (CVE-2023-39326)
MAX_TRAILERS_BYTES = 16384

LAST_CHUNK = b"0\r\n\r\n"

_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;%b(?:=(?:%b|%b))?)*+)" % (TOKEN, TOKEN, _QUOTED))
_TRAILER_LINE = re.compile(rb"(%b):(%b)" % (TOKEN, TEXT))


class _State(Enum):
    SIZE = "a chunk's size line"
    DATA = "data"
    DATA_END = "a chunk's data"     # nothing but its CRLF is left
    TRAILER = "a trailer"           # a field, or the empty line that ends the body
    DONE = "done"


_MAX_LINE = {_State.SIZE: MAX_LINE_BYTES, _State.DATA_END: 0}


class ChunkDecoder:
    """Payload out of chunks, however they are cut up. Once `is_done`: `trailers`, and `leftover`, what followed the end."""

    __slots__ = ("_extensions_bytes", "_left", "_pending", "_state", "_trailers_bytes", "leftover", "trailers")

    def __init__(self) -> None:
        self._state = _State.SIZE
        self._pending = b""             # a line, or a CRLF, that is not complete yet
        self._left = 0                  # of the chunk's data
        self._extensions_bytes = 0
        self._trailers_bytes = 0
        self.leftover = b""
        self.trailers: Headers = []

    @property
    def is_done(self) -> bool:
        return self._state is _State.DONE

    def feed(self, data: bytes) -> bytes:
        """The payload that `data` completes, b"" if none. Raises: ValueError with the rule broken; then the decoder is spent."""
        assert not self.is_done, "bytes behind the end of a body belong to whoever reads the next head"
        data, self._pending = self._pending + data, b""
        at, pieces = 0, []
        while self._state is not _State.DONE:
            if self._state is _State.DATA:
                piece = data[at:at + self._left]
                at += len(piece)
                self._left -= len(piece)
                pieces.append(piece)
                if self._left:
                    return b"".join(pieces)
                self._state = _State.DATA_END
            line, at = self._take_line(data, at)
            if line is None:
                return b"".join(pieces)
            self._read_line(line)
        self.leftover = data[at:]
        return b"".join(pieces)

    def _take_line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """The line at `at` without its CRLF, and where the next begins; None if it is not complete, then it is kept."""
        limit = MAX_TRAILERS_BYTES - self._trailers_bytes if self._state is _State.TRAILER else _MAX_LINE[self._state]
        end = data.find(b"\r\n", at, at + limit + 2)
        if end >= 0:
            return data[at:end], end + 2
        if len(data) - at > limit + 1:
            raise ValueError(f"no CRLF within {limit} bytes where {self._state.value} ends")
        self._pending = data[at:]
        return None, at

    def _read_line(self, line: bytes) -> None:
        if self._state is _State.DATA_END:
            self._state = _State.SIZE
        elif self._state is _State.SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise ValueError("a chunk's size line is not 1 to 16 hex digits with well-formed extensions")
            self._left = int(match[1], 16)
            if self._left >= 1 << 63:
                raise ValueError(f"the chunk size {match[1].decode()} is 2**63 or more")
            self._extensions_bytes += len(match[2])
            if self._extensions_bytes > MAX_EXTENSIONS_BYTES:
                raise ValueError(f"more than {MAX_EXTENSIONS_BYTES} bytes of chunk extensions in one body")
            self._state = _State.DATA if self._left else _State.TRAILER
        elif line:
            match = _TRAILER_LINE.fullmatch(line)
            if match is None:
                raise ValueError("a trailer is no header field")
            self.trailers.append((match[1], match[2].strip(b" \t")))
            self._trailers_bytes += len(line) + 2
            if self._trailers_bytes > MAX_TRAILERS_BYTES:
                raise ValueError(f"more than {MAX_TRAILERS_BYTES} bytes of trailers")
        else:
            self._state = _State.DONE


def last_chunk(trailers: Headers) -> bytes:
    """The end of the body, with `trailers`."""
    if not trailers:
        return LAST_CHUNK
    text = b"".join(b"%b: %b\r\n" % field for field in trailers)
    assert text.count(b"\n") == text.count(b"\r") == len(trailers), "a trailer breaks its line"
    return b"0\r\n" + text + b"\r\n"


def frame_chunk(data: bytes) -> bytes:
    """One chunk. Empty data would be the last one, which is `LAST_CHUNK`'s to say."""
    assert data, "an empty chunk ends the body"
    return b"%x\r\n%b\r\n" % (len(data), data)
