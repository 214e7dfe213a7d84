"""Any bytes: no request yet, one request, or a ProtocolViolation; and what is taken goes on as a head with that one reading.

The fast and the slow way say the same, more bytes change no answer, and a strict reader that shares no code with ours finds in the
head that we send on what we decided.
"""

from sidecar.model.errors import ProtocolViolation
from sidecar.model.message import BodyKind, RequestHead
from sidecar.protocol import http1
from sidecar.protocol.framing import judge_request
from sidecar.protocol.head import read_request
from sidecar.protocol.render import render_request
from tests.helpers.strict_http import read_request_head

PIECES = (
    b"GET / HTTP/1.1\r\n", b"POST", b"OPTIONS * ", b"http://a/", b" HTTP/1.0\r\n", b"Host: a\r\n", b"host:b", b"Content-Length: 5\r\n",
    b"content-length",
    b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:", b"Connection: close\r\n", b"connection: host\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n", b"TE: trailers\r\n", b"x-forwarded-for: a\r\n", b"\r\n\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",",
    b"_", b"%", b"/", b"..",
    b"\x00", b"\x0b", b"\x7f", b"\xa0", b"\xff", b"[::1]", b":80",
)


def fuzz(data: bytes) -> None:
    whole = outcome(data)
    begun = outcome(data[:len(data) // 2])
    assert begun is None or begun == whole or (begun is False and whole is False), "more bytes changed an answer"
    if whole is None:
        assert b"\r\n\r\n" not in data
    elif isinstance(whole, tuple):
        head, length = whole
        slow = judge_request(*http1.parse_request(data[:length]))
        assert head == slow, "the two ways differ"
        check_rendered(head)


def outcome(data: bytes) -> tuple[RequestHead, int] | bool | None:
    """False: refused."""
    try:
        return read_request(data)
    except ProtocolViolation:
        return False


def check_rendered(head: RequestHead) -> None:
    host = head.host if head.port is None else b"%b:%d" % (head.host, head.port)
    text = render_request(head, host, [])
    read = read_request_head(text)
    framing = "chunked" if head.body.kind is BodyKind.CHUNKED else head.body.length if head.body.kind is BodyKind.LENGTH else None
    assert read.start == (head.method, head.target)
    assert read.framing == framing or (framing is None and read.framing == 0)
    ours = (b"content-length", b"transfer-encoding", b"expect", b"connection", b"te", b"upgrade")
    kept = [(name.lower(), value) for name, value in head.headers]
    assert not [name for name, _ in kept if name in ours]
    assert [field for field in read.fields if field[0] not in ours] == [(b"host", host), *kept]
