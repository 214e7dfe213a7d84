"""Frames: their layout, names and limits, and the one error that ends a connection.

Spec: RFC 9113 s4, s6, s7.
"""

from enum import IntEnum
from struct import Struct

HEADER_BYTES = 9
MAX_FRAME_BYTES = 16384         # what we take, and the most that we send: every peer takes that much
MAX_WINDOW = (1 << 31) - 1
LAST_ID = 1 << 30               # beyond it no stream is opened, though the protocol would give twice as many

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Error codes (RFC 9113 s7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


def name_of(code: int) -> str:
    """For logs; a code that nobody defined by its number."""
    return Code(code).name if code in Code.__members__.values() else f"code {code}"


class Http2Error(Exception):
    """The other end broke the connection's rules; GOAWAY has been queued and nothing more is read.

    Args:
        code: what GOAWAY says; ENHANCE_YOUR_CALM means a flood.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

    @property
    def is_flood(self) -> bool:
        return self.code is Code.ENHANCE_YOUR_CALM


_HEADER = Struct(">HBBBL")      # a length of 24 bits in two parts, kind, flags, stream
_WORD = Struct(">L")
_PAIR = Struct(">LL")
_SETTING = Struct(">HL")

parse_header = _HEADER.unpack_from
parse_word = _WORD.unpack_from
parse_pair = _PAIR.unpack_from
parse_settings = _SETTING.iter_unpack


def render(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def render_header(kind: int, flags: int, stream: int, size: int) -> bytes:
    """The nine bytes before a payload of `size` bytes, which its owner sends behind them uncopied."""
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream)


def render_settings(settings: dict[Setting, int]) -> bytes:
    return render(SETTINGS, 0, 0, b"".join(_SETTING.pack(*setting) for setting in settings.items()))


def render_reset(stream: int, code: int) -> bytes:
    return render(RST_STREAM, 0, stream, _WORD.pack(code))


def render_goaway(last_stream: int, code: int, detail: bytes = b"") -> bytes:
    return render(GOAWAY, 0, 0, _PAIR.pack(last_stream, code) + detail)


def render_window_update(stream: int, credit: int) -> bytes:
    return render(WINDOW_UPDATE, 0, stream, _WORD.pack(credit))
