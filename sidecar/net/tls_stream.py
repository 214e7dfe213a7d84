"""TLS on the descriptor: pyOpenSSL drives the non-blocking socket, trio waits where OpenSSL wants to.

OpenSSL reading and writing the descriptor itself costs a third of the CPU of memory BIOs and half of `trio.SSLStream`.
All calls on one connection come from one trio loop, so that they never overlap; one task may read while another writes.

Trust: the peer is hostile until `handshake` has returned and the caller has looked at its certificate (`net/verify.py`).
What leaves `receive_some` is authenticated bytes; an end without close_notify is an error, never a quiet end (truncation).
Spec: RFC 8446 s6.1.
"""

import socket
from collections.abc import Callable

import trio
from OpenSSL import SSL  # noqa: TID251 -- this file owns it
from OpenSSL._util import ffi, lib, no_zero_allocator  # noqa: TID251 -- what pyOpenSSL has no function for
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    notify_closing,
    wait_readable,
    wait_writable,
)

from sidecar.model.errors import ReasonedError

from .socket_stream import abort

RECEIVE_BYTES = 65536
RECORD_BYTES = 16384
MOST_RECORDS = 64           # at once: they may hold a byte each
WRITE_BYTES = 65536   # larger writes would hold the loop for long
MOST_EMPTY_WAKES = 1024     # bytes came, and no data: a record of 16 KB in a few hundred tiny segments, or key updates without end


def _words(exc: SSL.Error) -> str:
    """What OpenSSL says, for the log: `certificate verify failed`."""
    reasons = [reason for _, _, reason in exc.args[0]] if exc.args and isinstance(exc.args[0], list | tuple) else []
    return "; ".join(reason for reason in reasons if reason) or str(exc) or type(exc).__name__


def account_of(stream: trio.abc.AsyncResource) -> str:
    """The account of the connection under a stream; empty: none is kept."""
    return stream.account if isinstance(stream, TlsStream) else ""


class TlsStream(trio.abc.HalfCloseableStream):
    """
    Args:
        context: server or client side, see `net/tls_context.py`; chain verification happens inside the handshake.
        sock: connected; this object owns it from now on.
        is_server: which side we are.
        server_name: SNI to send (client side); None for an address or a mesh peer.

    Attributes:
        account: by what name its account is known; empty: none is kept.
        received, sent: bytes inside TLS.
        closed: called once when this end has closed it.
    """

    def __init__(self, context: SSL.Context, sock: socket.socket, *, is_server: bool, server_name: str | None = None) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.connection = SSL.Connection(context, sock)
        # One message a read. By pyOpenSSL's setting a single call would go through key updates as long as they come, 7 us and 27 bytes
        # each and no limit of OpenSSL's, while the loop stands. And all of a piece a write, where its setting makes it a record of 16 KB.
        lib.SSL_clear_mode(self.connection._ssl, lib.SSL_MODE_AUTO_RETRY | lib.SSL_MODE_ENABLE_PARTIAL_WRITE)
        self._empty_wakes = 0
        self._may_hold = False      # the rest of a record: OpenSSL reads none before it is asked for it
        self._is_receiving = False
        self._is_sending = False
        self._is_broken = False
        self._has_ended = False
        self._has_peer_ended = False
        self.account = ""
        self.received = 0
        self.sent = 0
        self.closed: Callable[[], None] | None = None
        if is_server:
            self.connection.set_accept_state()
        else:
            if server_name is not None:
                self.connection.set_tlsext_host_name(server_name.encode("ascii"))
            self.connection.set_connect_state()

    async def handshake(self, failed: type[ReasonedError]) -> None:
        """Raises `failed`, with OpenSSL's words, if the handshake fails. The caller sets the deadline."""
        try:
            while True:
                try:
                    self.connection.do_handshake()
                    return
                except SSL.WantReadError:
                    await wait_readable(self.sock)
                except SSL.WantWriteError:
                    await wait_writable(self.sock)
        except SSL.SysCallError as exc:
            self._is_broken = True
            raise failed(f"connection lost in the TLS handshake ({exc.args[-1]})") from exc
        except SSL.Error as exc:
            self._is_broken = True
            raise failed(f"TLS handshake failed: {_words(exc)}{self._verdict()}") from exc
        except ValueError as exc:       # a callback's: OpenSSL has sent the alert, and the handshake cannot go on
            self._is_broken = True
            raise failed(f"TLS handshake failed: {exc}") from exc
        except BaseException:
            self._is_broken = True
            raise

    def _verdict(self) -> str:
        """What was wrong with the peer's chain: ` (certificate has expired)`. pyOpenSSL has no words for it of its own."""
        code = lib.SSL_get_verify_result(self.connection._ssl)
        words: bytes = ffi.string(lib.X509_verify_cert_error_string(code))
        return f" ({words.decode()})" if code else ""

    # As `recv` and `send` of pyOpenSSL, which asks OpenSSL for the error of every call, of those that went well, too: 1.5 us each.

    def _read(self, most: int) -> bytes:
        ssl, room = self.connection._ssl, no_zero_allocator("char[]", most)
        count: int = lib.SSL_read(ssl, room, most)
        self._may_hold = count == most
        if count <= 0:
            self.connection._raise_ssl_error(ssl, count)
        return bytes(ffi.buffer(room, max(count, 0)))

    def _read_into(self, room: memoryview) -> int:
        """Of the records that are here as many as fit; one at least, or what `_read` raises."""
        ssl, start, size, at = self.connection._ssl, ffi.from_buffer(room), len(room), 0
        for _ in range(MOST_RECORDS):
            count: int = lib.SSL_read(ssl, start + at, size - at)
            self._may_hold = count == size - at
            if count > 0:
                at += count
                if size - at < RECORD_BYTES:
                    break
            elif at and lib.SSL_get_error(ssl, count) == lib.SSL_ERROR_WANT_READ:   # nearly always, and an exception less
                break
            else:
                try:
                    self.connection._raise_ssl_error(ssl, count)
                except SSL.Error as exc:
                    if not at:
                        raise
                    # What was read comes first; the next call is told without a look at the socket, where nothing may come any more.
                    self._has_peer_ended = isinstance(exc, SSL.ZeroReturnError)
                    self._is_broken = not isinstance(exc, SSL.ZeroReturnError | SSL.WantWriteError)
                    break
        return at

    def _write(self, data: bytes | bytearray | memoryview, start: int = 0) -> int:
        """Of `data` from `start` on a piece. If there is no room for it, the next call begins with the same bytes, wherever they are."""
        if start or len(data) > WRITE_BYTES:
            data = memoryview(data)[start:start + WRITE_BYTES]
        ssl = self.connection._ssl
        count: int = lib.SSL_write(ssl, data if isinstance(data, bytes) else ffi.from_buffer(data), len(data))
        if count <= 0:
            self.connection._raise_ssl_error(ssl, count)
        self.sent += count
        return count

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to `max_bytes` bytes; b"" only after the peer's close_notify. BrokenResourceError if it was cut off."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._is_receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._is_receiving = True
        try:
            # Between request and answer nothing is here yet: to ask OpenSSL then costs an exception, 4 us. It never holds more than the
            # record that it gives out (no read-ahead), so what it does not hold makes the socket readable.
            has_waited = max_bytes is None and not (self._has_peer_ended or self.connection.pending())
            if has_waited:
                self._check_open()
                await wait_readable(self.sock)
            else:
                await checkpoint_if_cancelled()
            while True:
                self._check_open()
                try:
                    data = self._read(max_bytes or RECEIVE_BYTES)
                except SSL.WantReadError:
                    if has_waited:
                        self._count_empty_wake()
                    has_waited = True
                    await wait_readable(self.sock)
                except SSL.WantWriteError:
                    has_waited = True
                    await wait_writable(self.sock)
                except SSL.ZeroReturnError:
                    self._has_peer_ended = True
                    await checkpoint()
                    return b""
                except SSL.Error as exc:
                    self._is_broken = True
                    raise trio.BrokenResourceError(_words(exc)) from exc
                else:
                    self.received += len(data)
                    self._empty_wakes = 0
                    if not has_waited:
                        await cancel_shielded_checkpoint()  # cancelled here, what OpenSSL gave out would be lost
                    return data
        finally:
            self._is_receiving = False

    async def receive_into(self, room: Callable[[], memoryview]) -> memoryview:
        """What came, in the room that is asked for when it is there; empty at the end. Between reading and return nothing else runs, so
        that others may share the room.
        """
        if self._is_receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._is_receiving = True
        try:
            while True:
                await self.wait_input()
                self._check_open()
                here = room()
                try:
                    count = self._read_into(here)
                except SSL.WantReadError:
                    continue
                except SSL.WantWriteError:
                    await wait_writable(self.sock)
                except SSL.ZeroReturnError:
                    self._has_peer_ended = True
                    return here[:0]
                except SSL.Error as exc:
                    self._is_broken = True
                    raise trio.BrokenResourceError(_words(exc)) from exc
                else:
                    self.received += count
                    self._empty_wakes = 0
                    return here[:count]
        finally:
            self._is_receiving = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """After an error or cancellation some, all or none of `data` was sent, and the stream is good for closing only."""
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._is_sending = True
        has_waited = False
        try:
            self._check_open()
            start = 0
            while start < len(data):
                try:
                    start += self._write(data, start)
                except SSL.WantWriteError:
                    has_waited = True
                    await wait_writable(self.sock)
                    self._check_open()
                except SSL.WantReadError:
                    has_waited = True
                    await wait_readable(self.sock)
                    self._check_open()
            if not has_waited:
                await checkpoint()
        except SSL.Error as exc:
            if self.connection.get_shutdown() & SSL.SENT_SHUTDOWN:
                raise trio.ClosedResourceError("send_eof has ended this direction") from exc
            self._is_broken = True
            raise trio.BrokenResourceError(_words(exc)) from exc
        finally:
            self._is_sending = False

    async def wait_input(self) -> None:
        """Until there may be something to receive: then `receive_nowait`."""
        self._check_open()
        if self._has_peer_ended or self._may_hold:
            await checkpoint()
        else:
            await wait_readable(self.sock)
            self._count_empty_wake()    # until data is received

    def receive_nowait(self) -> bytes | None:
        """What is here, b"" after the peer's close_notify; None: nothing is."""
        self._check_open()
        try:
            data = self._read(RECEIVE_BYTES)
            self.received += len(data)
            self._empty_wakes = 0
            return data
        except (SSL.WantReadError, SSL.WantWriteError):
            return None
        except SSL.ZeroReturnError:
            self._has_peer_ended = True
            return b""
        except SSL.Error as exc:
            self._is_broken = True
            raise trio.BrokenResourceError(_words(exc)) from exc

    def send_nowait(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` there was room for; the others come first in the next call, for OpenSSL has seen them."""
        self._check_open()
        start = 0
        try:
            while start < len(data):
                start += self._write(data, start)
        except (SSL.WantReadError, SSL.WantWriteError):
            pass
        except SSL.Error as exc:
            self._is_broken = True
            raise trio.BrokenResourceError(_words(exc)) from exc
        return start

    def _count_empty_wake(self) -> None:
        self._empty_wakes += 1
        if self._empty_wakes > MOST_EMPTY_WAKES:
            self._is_broken = True
            raise trio.BrokenResourceError("the peer sends without end what is no data")

    def _check_open(self) -> None:
        if self.sock.fileno() < 0:
            raise trio.ClosedResourceError
        if self._is_broken:
            raise trio.BrokenResourceError("the TLS connection is broken")

    async def wait_send_all_might_not_block(self) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._is_sending = True
        try:
            self._check_open()
            await wait_writable(self.sock)
        finally:
            self._is_sending = False

    async def send_eof(self) -> None:
        """close_notify: the end of our direction only (RFC 8446 s6.1)."""
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._is_sending = True
        try:
            await checkpoint()
            while not self._has_ended:
                self._check_open()
                try:
                    self.connection.shutdown()
                    self._has_ended = True      # once only: OpenSSL would take the next call as a wish to read the peer's
                except SSL.WantWriteError:
                    await wait_writable(self.sock)
        except SSL.Error as exc:
            self._is_broken = True
            raise trio.BrokenResourceError(_words(exc)) from exc
        finally:
            self._is_sending = False

    def close(self) -> None:
        """close_notify if there is room for it, then close; any number of times. The peer's close_notify is not awaited."""
        if self.sock.fileno() >= 0:
            if not (self._is_broken or self._has_ended):
                try:
                    self.connection.shutdown()
                except SSL.Error:
                    pass  # the peer is gone, or the socket full: then the peer sees a truncation, which is true
            notify_closing(self.sock)
            self.sock.close()
        self._tell_closed()

    def abort(self) -> None:
        """Close without close_notify and with a reset: the peer must not take what it got for the whole."""
        abort(self.sock)
        self._tell_closed()

    def _tell_closed(self) -> None:
        closed, self.closed = self.closed, None
        if closed is not None:
            closed()

    def session_id(self) -> str:
        """128 bits that both ends can compute and nobody else (RFC 8446 s7.5), hex."""
        return self.connection.export_keying_material(b"EXPORTER-bartizan-ledger", 16).hex()

    def peer_serial(self) -> int:
        """Of the peer's certificate; 0 if it has none."""
        certificate = self.connection.get_peer_certificate(as_cryptography=True)
        return certificate.serial_number if certificate is not None else 0

    async def aclose(self) -> None:
        self.close()
        await checkpoint()
