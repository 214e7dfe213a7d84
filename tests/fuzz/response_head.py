"""Any bytes: no response yet, one response, or a BadResponse; and what is taken goes on as a head with that one reading."""

from sidecar.model.errors import BadResponse
from sidecar.model.message import BodyKind, ResponseHead
from sidecar.protocol import http1
from sidecar.protocol.framing import judge_response
from sidecar.protocol.head import read_response
from sidecar.protocol.render import render_response
from tests.helpers.strict_http import read_response_head

PIECES = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"HTTP/1.0 ", b"100", b"101", b"204", b"304", b"599", b"Content-Length: 5\r\n",
    b"content-length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"connection: set-cookie\r\n", b"Set-Cookie: a\r\n", b"x_y: z\r\n",
    b"x-bartizan-reason: a\r\n",
    b"Upgrade: websocket\r\n", b"\r\n\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b"\x00", b"\x0b", b"\x7f", b"\xa0", b"\xff",
)


def fuzz(data: bytes) -> None:
    for method in (b"GET", b"HEAD"):
        whole = outcome(data, method)
        begun = outcome(data[:len(data) // 2], method)
        assert begun is None or begun == whole or (begun is False and whole is False), "more bytes changed an answer"
        if whole is None:
            assert b"\r\n\r\n" not in data
        elif isinstance(whole, tuple):
            head, length = whole
            assert head == judge_response(*http1.parse_response(data[:length]), method), "the two ways differ"
            check_rendered(head, method)


def outcome(data: bytes, method: bytes) -> tuple[ResponseHead, int] | bool | None:
    """False: refused."""
    try:
        return read_response(data, method)
    except BadResponse:
        return False


def check_rendered(head: ResponseHead, method: bytes) -> None:
    read = read_response_head(render_response(head, [], close=head.is_last, chunk_until_close=False))
    assert read.start == (b"%d" % head.status, head.phrase)
    kind = head.body.kind
    if kind is BodyKind.NONE:
        # The length that a body would have (HEAD, 304), or that there is none.
        assert read.framing == head.content_length
        assert method == b"HEAD" or head.status in (204, 304) or head.status < 200 or read.framing == 0
    else:
        assert read.framing == {BodyKind.CHUNKED: "chunked", BodyKind.LENGTH: head.body.length, BodyKind.UNTIL_CLOSE: None}[kind]
    ours = (b"content-length", b"transfer-encoding", b"connection", b"upgrade")
    kept = [(name.lower(), value) for name, value in head.headers]
    assert [field for field in read.fields if field[0] not in ours] == kept
