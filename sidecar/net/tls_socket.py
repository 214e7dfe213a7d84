"""TLS on a non-blocking socket: OpenSSL reads and writes the descriptor itself, and nothing here waits.

OpenSSL on the descriptor costs a third of the CPU of memory BIOs and half of `trio.SSLStream`.

Trust: what leaves here is authenticated bytes; an end without close_notify is an error, never a quiet end (truncation).
Spec: RFC 8446 s6.1.
"""

import socket
from collections.abc import Callable

import trio
from OpenSSL import SSL  # noqa: TID251 -- one of its owners
from OpenSSL._util import ffi, lib, no_zero_allocator  # noqa: TID251 -- what pyOpenSSL has no function for
from trio.lowlevel import notify_closing

from .socket_stream import abort

RECEIVE_BYTES = 65536
RECORD_BYTES = 16384
MOST_RECORDS = 64           # at once: they may hold a byte each
WRITE_BYTES = 65536   # larger writes would hold the loop for long
MOST_EMPTY_WAKES = 1024     # bytes came, and no data: a record of 16 KB in a few hundred tiny segments, or key updates without end


def words_of(exc: SSL.Error) -> str:
    """What OpenSSL says, for the log: `certificate verify failed`."""
    reasons = [reason for _, _, reason in exc.args[0]] if exc.args and isinstance(exc.args[0], list | tuple) else []
    return "; ".join(reason for reason in reasons if reason) or str(exc) or type(exc).__name__


class TlsSocket:
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
        self._is_broken = False     # or closed
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

    # As `recv` and `send` of pyOpenSSL, which asks OpenSSL for the error of every call, of those that went well, too: 1.5 us each.

    def _read(self, most: int) -> bytes:
        ssl, room = self.connection._ssl, no_zero_allocator("char[]", most)
        count: int = lib.SSL_read(ssl, room, most)
        self._may_hold = count == most
        if count <= 0:
            self.connection._raise_ssl_error(ssl, count)
        data: bytes = ffi.unpack(room, max(count, 0))
        return data

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

    def receive_nowait(self) -> bytes | None:
        """What is here, b"" after the peer's close_notify; None: nothing is."""
        if self._is_broken:
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
            raise self._broken(exc) from exc

    def send_nowait(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` there was room for; the others come first in the next call, for OpenSSL has seen them."""
        if self._is_broken:
            self._check_open()
        start = 0
        try:
            while start < len(data):
                start += self._write(data, start)
        except (SSL.WantReadError, SSL.WantWriteError):
            pass
        except SSL.Error as exc:
            raise self._broken(exc) from exc
        return start

    def _count_empty_wake(self) -> None:
        self._empty_wakes += 1
        if self._empty_wakes > MOST_EMPTY_WAKES:
            self._is_broken = True
            raise trio.BrokenResourceError("the peer sends without end what is no data")

    def _check_open(self) -> None:
        if self._is_broken:
            raise trio.ClosedResourceError if self.sock.fileno() < 0 else trio.BrokenResourceError("the TLS connection is broken")

    def _broken(self, exc: SSL.Error) -> trio.BrokenResourceError:
        """From now on nothing but closing is left."""
        self._is_broken = True
        return trio.BrokenResourceError(words_of(exc))

    def verdict(self) -> str:
        """What was wrong with the peer's chain: ` (certificate has expired)`. pyOpenSSL has no words for it of its own."""
        code = lib.SSL_get_verify_result(self.connection._ssl)
        words: bytes = ffi.string(lib.X509_verify_cert_error_string(code))
        return f" ({words.decode()})" if code else ""

    def session_id(self) -> str:
        """128 bits that both ends can compute and nobody else (RFC 8446 s7.5), hex."""
        return self.connection.export_keying_material(b"EXPORTER-bartizan-ledger", 16).hex()

    def peer_serial(self) -> int:
        """Of the peer's certificate; 0 if it has none."""
        certificate = self.connection.get_peer_certificate(as_cryptography=True)
        return certificate.serial_number if certificate is not None else 0

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
        self._is_broken = True
        self._tell_closed()

    def abort(self) -> None:
        """Close without close_notify and with a reset: the peer must not take what it got for the whole."""
        abort(self.sock)
        self._is_broken = True
        self._tell_closed()

    def _tell_closed(self) -> None:
        closed, self.closed = self.closed, None
        if closed is not None:
            closed()
