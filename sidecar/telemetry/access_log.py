"""One JSON line for each exchange and each opaque connection, allowed or refused.

Everything that a peer chose is escaped by the JSON encoder, so that one record is one line whatever it holds. Query strings stay
out: they carry secrets. A reader that does not keep up costs lines, which are counted, never the proxy's time.

Lines wait until all that is to be done now is done, or a refusal is told: a write wakes the reader, which takes 7 us and more of ours.
"""

import os
from collections.abc import Callable, Iterator
from select import PIPE_BUF

import msgspec
from msgspec.structs import asdict, replace

from sidecar.model.reason import Reason


class Record(msgspec.Struct, omit_defaults=True):
    """What happened.

    Args:
        time: Unix seconds at the start.
        direction: `inbound` or `outbound`; `gateway`: from the mesh and out of it; `edge`: from clients into it.
        security: of the downstream side inbound, of the upstream side outbound: mtls, tls, plaintext, passthrough.
        peer: the verified SPIFFE ID at the other end; of a gateway, of whom it leads out.
        client: the address of who called the ingress gateway: there, and at the pod that it led the request to.
        user: who the client's credentials say that it is, verified there.
        connection: the account of the connection to or from the peer, by which the ledger knows it, too.
        dst: where the connection was going, address and port.
        status: what was answered; 0: nothing.
        rule: what allowed it, or the nearest rule of a refusal.
        received, sent: body bytes from and to the downstream (connections: all bytes).
        trace_id, parent_id: the trace that the caller takes part in, and its span; hex.
        spoken: to an external host, what the application spoke and to which port: `plain:80`, `tls:443`, `tcp:5432`.
        dst_mismatch: the application dialled another address than the judged name resolves to.
        waived: the checks of the external host's certificate, by commas, that its new connection needed a policy's waiver of.
    """

    time: float
    direction: str
    dst: str = ""
    security: str = ""
    tls: str = ""
    peer: str = ""
    source: str = ""
    client: str = ""
    user: str = ""
    connection: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    status: int = 0
    code: str = ""
    reason: str = ""
    detail: str = ""
    rule: str = ""
    spoken: str = ""
    upstream: str = ""
    request_id: str = ""
    trace_id: str = ""
    parent_id: str = ""
    received: int = 0
    sent: int = 0
    duration_ms: float = 0.0
    dst_mismatch: bool = False
    waived: str = ""

    def refuse(self, reason: Reason, detail: str = "") -> None:
        self.code, self.reason, self.detail = reason.code, reason.token, detail


class AccessLog:
    """
    Args:
        write: takes whole lines; BlockingIOError means that they are lost.
    """

    def __init__(self, write: Callable[[bytes], object] | None) -> None:
        self._write = write
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._lines = bytearray()
        self.dropped = 0

    def add(self, record: Record) -> None:
        """It is written by the next `flush`, as it is now."""
        if self._write is not None:
            start = len(self._lines)
            try:
                self._encoder.encode_into(record, self._lines, -1)
            except UnicodeEncodeError:
                del self._lines[start:]     # half a record, and behind it whatever stood in memory
                self._encoder.encode_into(_sayable(record), self._lines, -1)
            self._lines += b"\n"

    def flush(self) -> None:
        if self._lines and self._write is not None:
            lines, self._lines = bytes(self._lines), bytearray()
            for piece in _pieces(lines):
                try:
                    self._write(piece)
                except OSError:
                    self.dropped += piece.count(b"\n")


def _sayable(record: Record) -> Record:
    """With a mark for what is no UTF-8: a claim in a client's token may be half a surrogate pair."""
    words = {name: text.encode("utf-8", "replace").decode() for name, text in asdict(record).items() if isinstance(text, str)}
    return replace(record, **words)


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Whole lines, as many as a pipe takes in one piece, for workers share one (POSIX, write: of at most PIPE_BUF)."""
    start = 0
    while start < len(lines):
        end = len(lines)
        if end - start > PIPE_BUF:
            end = lines.rfind(b"\n", start, start + PIPE_BUF) + 1 or lines.index(b"\n", start) + 1
        yield lines[start:end]
        start = end


class _Lines:
    """Whole lines into `descriptor`: of what a nearly full pipe took a part, the rest goes before the next line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def write(self, lines: bytes) -> None:
        if self._rest:
            self._rest = self._rest[os.write(self._descriptor, self._rest):]
        if self._rest:
            raise BlockingIOError
        self._rest = lines[os.write(self._descriptor, lines):]


def stdout_log(descriptor: int = 1) -> AccessLog:
    """To the container's log. Only a pipe is made non-blocking: a terminal shares that setting with its shell."""
    import stat

    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.set_blocking(descriptor, False)
    return AccessLog(_Lines(descriptor).write)
