"""Connect to an address. Names never get here: they are resolved, and judged, before (`net/resolve.py`)."""

import errno
import os
import socket

from trio.lowlevel import notify_closing, wait_writable

from sidecar.model.address import Address
from sidecar.model.errors import ConnectFailed


class Dialer:
    """
    Args:
        mark: SO_MARK for every own socket, where the exemption goes by mark; None: it goes by UID.
        own_ports: local ports of connections that are still being established. Were the packet rule that exempts us lost, such a
            connection would come back to our outbound listener, and that would dial again: the listener looks here first.
    """

    def __init__(self, mark: int | None = None) -> None:
        self._mark = mark
        self.own_ports: set[int] = set()

    async def connect(self, to: Address) -> socket.socket:
        """A connected non-blocking socket, or ConnectFailed. After cancellation nothing is left open. The caller sets the deadline."""
        try:
            sock = socket.socket(socket.AF_INET6 if ":" in to.host else socket.AF_INET, socket.SOCK_STREAM)
        except OSError as exc:  # out of descriptors
            raise ConnectFailed(f"{to}: {exc.strerror}") from exc
        own_port = 0
        try:
            sock.setblocking(False)
            if self._mark is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            error = sock.connect_ex((to.host, to.port))
            if error == errno.EINPROGRESS:
                own_port = sock.getsockname()[1]
                self.own_ports.add(own_port)
                await wait_writable(sock)
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise ConnectFailed(f"{to}: {os.strerror(error)}", is_refused=error == errno.ECONNREFUSED)
        except BaseException as exc:
            notify_closing(sock)
            sock.close()
            if isinstance(exc, OSError):
                raise ConnectFailed(f"{to}: {exc.strerror}") from exc
            raise
        finally:
            self.own_ports.discard(own_port)
        return sock
