"""TLS as a stream: `tls_socket.py` drives OpenSSL, trio waits where OpenSSL wants to.

All calls on one connection come from one trio loop, so that they never overlap; one task may read while another writes.

Trust: the peer is hostile until `handshake` has returned and the caller has looked at its certificate (`net/verify.py`).
Spec: RFC 8446 s6.1.
"""

from collections.abc import Awaitable, Callable

import trio
from OpenSSL import SSL  # noqa: TID251 -- one of its owners
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled, wait_readable, wait_writable

from sidecar.model.errors import ReasonedError

from .arrivals import Arrivals
from .tls_socket import RECEIVE_BYTES, TlsSocket, words_of
from .turn import Listener, Turn


def account_of(stream: trio.abc.AsyncResource) -> str:
    """The account of the connection under a stream; empty: none is kept."""
    return stream.account if isinstance(stream, TlsStream) else ""


class TlsStream(TlsSocket, trio.abc.HalfCloseableStream):
    _is_receiving = False
    _is_sending = False

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
            raise failed(f"TLS handshake failed: {words_of(exc)}{self.verdict()}") from exc
        except ValueError as exc:       # a callback's: OpenSSL has sent the alert, and the handshake cannot go on
            self._is_broken = True
            raise failed(f"TLS handshake failed: {exc}") from exc
        except BaseException:
            self._is_broken = True
            raise

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
                    raise self._broken(exc) from exc
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
                    raise self._broken(exc) from exc
                else:
                    self.received += count
                    self._empty_wakes = 0
                    return here[:count]
        finally:
            self._is_receiving = False

    def wait_input(self) -> Awaitable[None]:
        """Until there may be something to receive: then `receive_nowait`. No coroutine of its own, which each wake-up would go through."""
        if self._is_broken:
            self._check_open()
        if self._has_peer_ended or self._may_hold:
            return checkpoint()     # noqa: ASYNC105 -- whoever calls awaits it
        self._count_empty_wake()    # until data is received
        return wait_readable(self.sock)     # noqa: ASYNC105

    def tell_input(self, listener: Listener) -> None:
        """It is told, once, when there may be something to receive."""
        self._check_open()
        if self._has_peer_ended or self._may_hold:
            Turn.of_this_run().tell(listener)
        else:
            self._count_empty_wake()
            Arrivals.of_this_run().tell(self.sock, listener)

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
            raise self._broken(exc) from exc
        finally:
            self._is_sending = False

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
            raise self._broken(exc) from exc
        finally:
            self._is_sending = False

    async def aclose(self) -> None:
        self.close()
        await checkpoint()
