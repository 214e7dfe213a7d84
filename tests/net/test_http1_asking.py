"""An HTTP/1.1 exchange without a task: what its listener is told of, and when it needs one. How it goes on,
tests/conformance/test_prompt_translation.py tries, which holds it to the way of all others.
"""

import pytest

from sidecar.model.errors import BadResponse, Reset
from sidecar.model.message import NO_BODY, Body, BodyKind, RequestHead
from sidecar.net.http1_asking import Http1AskingEnd
from sidecar.net.http1_client import Http1Client
from tests.helpers.streams import MemoryStream, stream_pair

GET = RequestHead(b"GET", b"/", b"a", None, [], NO_BODY, False, is_http2=True)
POST = RequestHead(b"POST", b"/", b"a", None, [], Body(BodyKind.CHUNKED), False, is_http2=True)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Asker:
    """Begins an exchange, and notes what it is told of."""

    def __init__(self, room: int = 65536, request: RequestHead = GET, body: bytes = b"") -> None:
        self.theirs: MemoryStream
        ours, self.theirs = stream_pair(room)
        self.client = Http1Client(ours)
        self.end = Http1AskingEnd(self.client.open())
        self.seen: list[tuple[int | None, bytes]] = []
        self.bugs: list[Exception] = []
        self.end.send_request_nowait(request, b"up", [(b"x-ours", b"1")], body)
        self.end.attend(self)

    def look(self) -> None:
        head = self.end.head and self.end.take_head()
        self.seen.append((head.status if head else None, self.end.take_buffered() if self.client.is_answered else b""))

    def crash(self, bug: Exception) -> None:
        self.bugs.append(bug)


async def test_it_is_told_of_what_comes_as_long_as_it_attends() -> None:
    one = Asker()
    assert one.theirs.receive_nowait() == b"GET / HTTP/1.1\r\nhost: up\r\nx-ours: 1\r\n\r\n"
    for piece in (OK[:10], OK[10:-1], OK[-1:]):
        await one.theirs.send_all(piece)
    assert one.seen == [(None, b""), (200, b"o"), (None, b"k")]
    assert one.end.is_body_done
    one.end.listener = None
    await one.theirs.send_all(b"more")
    assert len(one.seen) == 3
    assert one.client.unread == b""
    assert one.client.receive_nowait() == b"more"       # was left for whoever comes next


async def test_a_body_goes_with_the_request() -> None:
    one = Asker(request=POST, body=b"body")
    text = one.theirs.receive_nowait()
    assert text is not None
    assert text.endswith(b"\r\n\r\n4\r\nbody\r\n0\r\n\r\n")


async def test_what_there_was_no_room_for_is_told_at_once() -> None:
    one = Asker(room=8)
    assert one.end.is_stuck
    assert b"GET / HT" + one.end.unsent == b"GET / HTTP/1.1\r\nhost: up\r\nx-ours: 1\r\n\r\n"
    assert one.seen == [(None, b"")]


async def test_the_end_may_be_that_of_the_body() -> None:
    one = Asker()
    await one.theirs.send_all(b"HTTP/1.1 200 OK\r\n\r\nuntil")
    assert not one.end.is_stuck
    one.theirs.receive_nowait()
    one.theirs.close()
    assert (one.end.has_ended, one.end.failure, one.end.is_stuck) == (True, None, True)
    assert one.seen[0] == (200, b"until")


@pytest.mark.parametrize(("text", "failure"), [(b"nonsense\r\n\r\n", BadResponse), (None, Reset)])
async def test_what_is_wrong_is_told(text: bytes | None, failure: type[Exception]) -> None:
    one = Asker()
    if text is None:
        one.theirs.abort()
    else:
        await one.theirs.send_all(text)
    assert isinstance(one.end.failure, failure)
    assert one.end.is_stuck
    assert len(one.seen) == 1


async def test_who_asks_again_hears_of_the_same_bad_body() -> None:
    one = Asker()
    await one.theirs.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    one.end.listener = None
    await one.theirs.send_all(b"zz\r\n")
    one.client.feed(b"zz\r\n")
    for _ in range(2):
        with pytest.raises(BadResponse, match="size line"):
            one.end.take_buffered()
    with pytest.raises(BadResponse, match="size line"):
        await one.client.read_body()


async def test_a_bug_of_the_listener_is_its_own() -> None:
    one = Asker()
    bug = AssertionError("a bug")

    def look() -> None:
        raise bug

    one.look = look     # type: ignore[method-assign]
    await one.theirs.send_all(OK)
    assert one.bugs == [bug]
