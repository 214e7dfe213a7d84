"""Any socket address that the kernel can give: an Address in its one canonical spelling."""

import socket
from typing import Any

from sidecar.model.address import canonical
from sidecar.net.original_dst import original_dst

PIECES = (
    b"\x04", b"\x06", b"\x02\x00", b"\x0a\x00", b"\x3a\x9e", b"\x00\x00", b"\xff\xff", bytes(10) + b"\xff\xff", b"\x0a\x01\x00\x05",
    b"\xfe\x80", bytes(15) + b"\x01",
)


class Redirected(socket.socket):
    """A socket whose original destination is what the test says; the first byte decides on the family."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(socket.AF_INET6 if answer[:1] >= b"\x06" else socket.AF_INET)
        self._answer = answer[1:]

    def getpeername(self) -> tuple[str, int]:
        return ("2001:db8::1" if self._answer[:1] >= b"\x80" else "::ffff:10.0.0.1", 1)

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if size not in (16, 28):
            return super().getsockopt(level, option)
        return self._answer[:size].ljust(size, b"\0")


def fuzz(data: bytes) -> None:
    with Redirected(data) as sock:
        address = original_dst(sock)
    assert address is not None
    assert str(canonical(address.host)) == address.host
    assert 0 <= address.port <= 65535
