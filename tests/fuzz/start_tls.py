"""Any bytes before TLS: an answer to all of them, None while more are needed, or a ValueError. No answer leaves bytes behind it.

So a beginning of what is an answer is none yet, and with one byte more it is an answer no longer.
"""

from collections.abc import Callable

from sidecar.protocol.start_tls.mysql import CLIENT_SSL, Numbers, read_greeting, read_login, tls_request
from sidecar.protocol.start_tls.postgres import read_answer
from sidecar.protocol.start_tls.smtp import read_go_ahead, read_offer
from sidecar.protocol.start_tls.smtp import read_greeting as read_welcome

PIECES = (
    b"S", b"N", b"E", b"220 ", b"220-", b"250-", b"250 ", b"mail", b"STARTTLS", b"\r\n", b"\n", b"\x00", b"\xff", b"\x10\x04",
    b"\x2e\x00\x00\x00\x0a", b"\x28\x00\x00\x01", b"5.5.5-10.11.6\x00", b"\xfe\xff", b"\x02\x00\xff\x81\x15",
    b"\xa2\x02\x00\x00", bytes(19),
)
READERS: tuple[Callable[[bytes], object], ...] = (read_answer, read_welcome, read_offer, read_go_ahead, read_greeting, read_login)


def fuzz(data: bytes) -> None:
    for read in READERS:
        whole = outcome(read, data)
        if whole in (None, False):
            continue
        assert all(outcome(read, data[:end]) is None for end in range(len(data))), f"{read}: a beginning is an answer"
        assert all(outcome(read, data + more) is False for more in (b"\x00", b"\r\n", data)), f"{read}: bytes behind an answer"
        if isinstance(whole, bytes) and read is read_login:
            assert len(tls_request(whole)) == 36, "more of the login than its first part"
            assert Numbers().to_server(data)[8:] == data[8:], "the login is another one through TLS"
        if isinstance(whole, bytes) and read is read_greeting:
            changed = [(a ^ b) for a, b in zip(data, whole, strict=True) if a != b]
            assert changed == [CLIENT_SSL >> 8], "the greeting loses more than the offer of TLS"


def outcome(read: Callable[[bytes], object], data: bytes) -> object:
    """False: refused."""
    try:
        return read(data)
    except ValueError:
        return False
