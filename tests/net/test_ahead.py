"""What is looked at stays."""

import trio
from trio.testing import MockClock

from sidecar.net.ahead import Ahead
from tests.helpers.streams import stream_pair


def four(data: bytes) -> bytes | None:
    return data[:4] if len(data) >= 4 else None


async def test_what_is_looked_at_is_read_again(autojump_clock: MockClock) -> None:
    far, near = stream_pair()
    stream = Ahead(near)
    for byte in b"abcdef":
        await far.send_all(bytes((byte,)))
    assert await stream.look(four) == b"abcd"
    assert await stream.look(four) == b"abcd"
    assert await stream.receive_some(3) == b"abc"
    await far.send_all(b"g")
    assert await stream.look(four) == b"defg"
    assert await stream.receive_some() == b"defg"
    await far.send_all(b"h")
    assert await stream.receive_some(8) == b"h"
    await stream.send_all(b"back")
    await stream.send_eof()
    assert await far.read_rest() == b"back"


async def test_the_end_comes_behind_what_was_seen(autojump_clock: MockClock) -> None:
    far, near = stream_pair()
    stream = Ahead(near)
    await far.send_all(b"abc")
    await far.send_eof()
    assert await stream.look(four) is None
    assert await stream.receive_some() == b"abc"
    assert await stream.receive_some() == b""


async def test_looking_can_be_cancelled(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    far, near = stream_pair()
    stream = Ahead(near)
    await far.send_all(b"abc")
    with trio.move_on_after(1):
        await stream.look(four)
    assert await stream.receive_some() == b"abc"
