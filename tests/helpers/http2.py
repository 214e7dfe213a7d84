"""HTTP/2 for tests: frames by hand, the library h2 as the other end, and engines that are fed whole or byte by byte."""

import struct
from collections.abc import Callable, Iterable

import h2.config
import h2.connection
import h2.events
import hpack

from sidecar.model.message import Headers
from sidecar.protocol.detect import PREFACE
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.engine import Engine
from sidecar.protocol.http2.events import Event
from sidecar.protocol.http2.frames import Code, Http2Error

from .streams import MemoryStream

OPENING = PREFACE + frames.render(frames.SETTINGS, 0, 0)
SERVER_OPENING = frames.render(frames.SETTINGS, 0, 0)
GET: Headers = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"orders"), (b":path", b"/a")]
POST: Headers = [(b":method", b"POST"), *GET[1:]]
OK: Headers = [(b":status", b"200")]
ENDS = frames.END_HEADERS | frames.END_STREAM


def block(fields: Headers) -> bytes:
    """Compressed so that it stands for itself: no table is used or changed."""
    return bytes(hpack.Encoder().encode([(name, value, True) for name, value in fields], huffman=False))


def headers(stream: int, fields: Headers, flags: int = ENDS) -> bytes:
    """The whole block, in as many frames as it needs."""
    whole, size = block(fields), frames.MAX_FRAME_BYTES
    if len(whole) <= size:
        return frames.render(frames.HEADERS, flags, stream, whole)
    sent = frames.render(frames.HEADERS, flags & ~frames.END_HEADERS, stream, whole[:size])
    for at in range(size, len(whole), size):
        is_last = at + size >= len(whole)
        sent += frames.render(frames.CONTINUATION, frames.END_HEADERS if is_last else 0, stream, whole[at:at + size])
    return sent


def data(stream: int, payload: bytes, flags: int = 0) -> bytes:
    return frames.render(frames.DATA, flags, stream, payload)


def reset(stream: int, code: Code = Code.CANCEL) -> bytes:
    return frames.render_reset(stream, code)


def split(output: bytes) -> list[tuple[int, int, int, bytes]]:
    """(kind, flags, stream, payload) of each frame; the preface is left out."""
    output = output.removeprefix(PREFACE)
    found = []
    while output:
        high, low, kind, flags, stream = frames.parse_header(output)
        end = frames.HEADER_BYTES + (high << 8 | low)
        assert len(output) >= end, "half a frame"
        found.append((kind, flags, stream, output[frames.HEADER_BYTES:end]))
        output = output[end:]
    return found


def resets(output: bytes) -> list[tuple[int, int]]:
    """(stream, code) of each RST_STREAM."""
    return [(stream, frames.parse_word(payload)[0]) for kind, _, stream, payload in split(output) if kind == frames.RST_STREAM]


def goaways(output: bytes) -> list[tuple[int, int]]:
    """(last stream, code) of each GOAWAY."""
    return [frames.parse_pair(payload) for kind, _, _, payload in split(output) if kind == frames.GOAWAY]   # type: ignore[misc]


def heads(output: bytes) -> list[Headers]:
    """The fields of each header block, which is one frame; trailers, too."""
    decoder = hpack.Decoder()
    return [[(bytes(name), bytes(value)) for name, value in decoder.decode(payload, raw=True)]
            for kind, _, _, payload in split(output) if kind == frames.HEADERS]


def server(step: int = 1 << 20) -> "Fed":
    """A server whose client has begun."""
    fed = Fed(Engine(is_server=True), step)
    fed.feed(OPENING)
    fed.output()
    return fed


def client(step: int = 1 << 20) -> "Fed":
    fed = Fed(Engine(is_server=False), step)
    fed.feed(SERVER_OPENING)
    fed.output()
    return fed


class Fed:
    """An engine, and all that it told; `error` once it has given up."""

    def __init__(self, engine: Engine, step: int) -> None:
        self.engine = engine
        self.step = step
        self.error: Http2Error | None = None

    def feed(self, *pieces: bytes, now: float = 0.0) -> list[Event]:
        sent = b"".join(pieces)
        told: list[Event] = []
        for at in range(0, len(sent), self.step):
            try:
                told += self.engine.receive(sent[at:at + self.step], now)
            except Http2Error as exc:
                self.error = exc
                break
        return told

    def output(self) -> bytes:
        return self.engine.take_output()


def h2_peer(*, is_client: bool) -> h2.connection.H2Connection:
    """The other end, which checks what we send as strictly as h2 can."""
    return h2.connection.H2Connection(h2.config.H2Configuration(client_side=is_client, header_encoding=None))


def joined(events: Iterable[h2.events.Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, h2.events.DataReceived))


class Raw:
    """Frames by hand on a stream: for what h2 cannot say or bear, such as anything behind GOAWAY."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.received = b""

    async def send(self, *pieces: bytes) -> None:
        await self.stream.send_all(b"".join(pieces))

    async def until(self, is_there: Callable[[bytes], object]) -> None:
        """Until all that was received, which ends with a whole frame, satisfies."""
        while not (_ends_whole(self.received) and is_there(self.received)):
            data = await self.stream.receive_some()
            assert data, f"the end came after {split(self.received)}"
            self.received += data

    def data(self, stream: int) -> bytes:
        return b"".join(payload for kind, _, sid, payload in split(self.received) if (kind, sid) == (frames.DATA, stream))

    def has_ended(self, stream: int) -> bool:
        return any(
            sid == stream and kind in (frames.DATA, frames.HEADERS) and flags & frames.END_STREAM
            for kind, flags, sid, _ in split(self.received)
        )


def _ends_whole(output: bytes) -> bool:
    try:
        split(output)
    except (AssertionError, struct.error):
        return False
    return True
