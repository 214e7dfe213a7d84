"""HTTP/1.1 as RFC 9112 has it and not a byte wider: what an attack leaves behind is read by this, never by what is attacked.

It shares no code with the sidecar. Where the RFC lets a recipient choose, or where servers are known to differ, it refuses: a
message that passes has one reading.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) (/[!\"$-~]*|\*) HTTP/1\.1" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t -~\x80-\xff]*)")
_FIELD = re.compile(rb"(%b):[ \t]*([!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?|)[ \t]*" % _TOKEN)
_HOST = re.compile(rb"(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Ambiguous(Exception):
    """Two recipients could read it differently, or none should read it at all."""


class Incomplete(Exception):
    """More bytes could make a message of it."""


@dataclass(frozen=True)
class Message:
    """
    Args:
        start: (method, target) or (status, phrase).
        fields: names in lower case, framing included.
        trailers: behind a chunked body.
        is_cut: its body ends with the connection.
    """

    start: tuple[bytes, bytes]
    fields: list[tuple[bytes, bytes]]
    body: bytes
    trailers: list[tuple[bytes, bytes]]
    is_cut: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field == name]


class _Bytes:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def line(self) -> bytes:
        end = self._data.find(b"\n", self.at)
        line = self._data[self.at:end + 1 if end >= 0 else None]
        body = line[:-2] if line.endswith(b"\r\n") else line
        if re.search(rb"[\x00-\x08\n-\x1f\x7f]", body.removesuffix(b"\r") if end < 0 else body):
            raise Ambiguous(f"control byte or bare line end in {line[:80]!r}")
        if end < 0:
            raise Incomplete
        self.at = end + 1
        return body

    def take(self, count: int) -> bytes:
        piece = self._data[self.at:self.at + count]
        if len(piece) < count:
            raise Incomplete
        self.at += count
        return piece

    def rest(self) -> bytes:
        return self.take(len(self._data) - self.at)


@dataclass(frozen=True)
class Head:
    """
    Args:
        start, fields: as in `Message`.
        framing: the body's length, "chunked", or None if no field says.
    """

    start: tuple[bytes, bytes]
    fields: list[tuple[bytes, bytes]]
    framing: int | str | None


def read_request_head(data: bytes) -> Head:
    """The head that `data` is, to its last byte. Raises: Ambiguous, Incomplete."""
    source = _Bytes(data, 0)
    head = _request_head(source)
    if source.at != len(data):
        raise Ambiguous(f"bytes behind the head: {data[source.at:][:80]!r}")
    return head


def read_response_head(data: bytes) -> Head:
    """The head that `data` is, to its last byte. Raises: Ambiguous, Incomplete."""
    source = _Bytes(data, 0)
    head = _response_head(source)
    if source.at != len(data):
        raise Ambiguous(f"bytes behind the head: {data[source.at:][:80]!r}")
    return head


def read_chunks(data: bytes) -> tuple[bytes, int]:
    """The payload of the chunked body that `data` begins with, and its length. Raises: Ambiguous, Incomplete."""
    source = _Bytes(data, 0)
    body, _ = _body(source, "chunked")
    return body, source.at


def read_requests(data: bytes, at: int = 0) -> Iterator[tuple[Message, int]]:
    """Each complete request from `at` on, and where it ends. Raises: Ambiguous."""
    while at < len(data):
        source = _Bytes(data, at)
        try:
            head = _request_head(source)
            body, trailers = _body(source, head.framing if head.framing is not None else 0)
        except Incomplete:
            return
        at = source.at
        yield Message(head.start, head.fields, body, trailers), at


def read_responses(data: bytes, methods: Sequence[bytes] = (), *, has_ended: bool = True) -> list[Message]:
    """All responses, interim ones too; the last one may be without its end (Incomplete). Raises: Ambiguous, Incomplete.

    Args:
        methods: of the requests that they answer, as far as it is not GET.
        has_ended: the connection ended behind `data`, in order.
    """
    found: list[Message] = []
    at = finals = 0
    while at < len(data):
        source = _Bytes(data, at)
        head = _response_head(source)
        status, kind = head.start[0], head.framing
        method = methods[finals] if finals < len(methods) else b"GET"
        is_interim, is_cut = status < b"200", False
        if is_interim or status == b"204":
            if kind is not None:
                raise Ambiguous(f"framing fields with status {status.decode()}")
            body, trailers = b"", []
        elif method == b"HEAD" or status == b"304":
            body, trailers = b"", []
        elif kind is None:
            if not has_ended:
                raise Incomplete
            body, trailers, is_cut = source.rest(), [], True
        else:
            body, trailers = _body(source, kind)
        finals += not is_interim
        at = source.at
        found.append(Message(head.start, head.fields, body, trailers, is_cut))
    return found


def _request_head(source: _Bytes) -> Head:
    line = source.line()
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Ambiguous(f"no request line: {line[:80]!r}")
    fields = _fields(source)
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
        raise Ambiguous(f"Host is {hosts}")
    return Head((match[1], match[2]), fields, _framing(fields))


def _response_head(source: _Bytes) -> Head:
    line = source.line()
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise Ambiguous(f"no status line: {line[:80]!r}")
    fields = _fields(source)
    return Head((match[1], match[2]), fields, _framing(fields))


def _fields(source: _Bytes) -> list[tuple[bytes, bytes]]:
    found = []
    while line := source.line():
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Ambiguous(f"no field line: {line[:80]!r}")
        found.append((match[1].lower(), match[2]))
    return found


def _framing(fields: list[tuple[bytes, bytes]]) -> int | str | None:
    """The length, "chunked", or None if no field says."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if codings:
        if lengths or codings != [b"chunked"]:
            raise Ambiguous(f"Transfer-Encoding {codings}, Content-Length {lengths}")
        return "chunked"
    if lengths:
        if len(lengths) != 1 or _LENGTH.fullmatch(lengths[0]) is None:
            raise Ambiguous(f"Content-Length {lengths}")
        return int(lengths[0])
    return None


def _body(source: _Bytes, kind: int | str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    if isinstance(kind, int):
        return source.take(kind), []
    body = b""
    while True:
        line = source.line()
        if _CHUNK_SIZE.fullmatch(line) is None:
            raise Ambiguous(f"no plain chunk size: {line[:80]!r}")
        size = int(line, 16)
        if not size:
            return body, _fields(source)
        body += source.take(size)
        end = source.take(2)
        if end != b"\r\n":
            raise Ambiguous(f"a chunk ends with {end!r}")
