"""What a stream does that changes nothing."""

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.net.wrapped import Wrapped
from tests.helpers.streams import stream_pair


async def test_bytes_and_ends_pass_either_way(autojump_clock: MockClock) -> None:
    far, near = stream_pair()
    stream = Wrapped(near)
    await far.send_all(b"abcdef")
    assert await stream.receive_some(3) == b"abc"
    assert await stream.receive_some() == b"def"
    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"back")
    await stream.send_eof()
    assert await far.read_rest() == b"back"
    await far.send_eof()
    assert await stream.receive_some() == b""


@pytest.mark.parametrize("ends", [Wrapped.close, Wrapped.abort, Wrapped.aclose])
async def test_it_ends_its_stream(ends: object, autojump_clock: MockClock) -> None:
    assert callable(ends)
    _, near = stream_pair()
    if (waits := ends(Wrapped(near))) is not None:
        await waits
    await wait_all_tasks_blocked()
    assert near.is_closed
    assert near.is_aborted is (ends is Wrapped.abort)
