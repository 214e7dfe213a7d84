"""Output that the socket does not take at once: whoever waits for room is told when there is some."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import Reset
from sidecar.model.message import Body, BodyKind, RequestHead
from sidecar.net.http2_client import Http2Client
from sidecar.net.http2_pump import MAX_UNSENT_BYTES
from sidecar.net.turn import Turn
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.frames import Setting
from tests.helpers.streams import MemoryStream, stream_pair

POST = RequestHead(b"POST", b"/", b"a", None, [], Body(BodyKind.CHUNKED), False, is_http2=True)
WIDE = frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}) + frames.render_window_update(0, 1 << 20)
PING = frames.render(frames.PING, 0, 0, b"12345678")


class Late(MemoryStream):
    """A socket that has room before it says so."""

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize("kind", [MemoryStream, Late])
async def test_room_is_told_whoever_found_it(kind: type[MemoryStream], autojump_clock: MockClock) -> None:
    """What arrives is answered at once, which may send the rest before the socket has said that it is ready to."""
    made, theirs = stream_pair(1000)
    ours = kind(made._in, made._out)
    client = Http2Client(ours)
    end = client.open()
    await theirs.send_all(WIDE)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            await end.send_request(POST, b"a", [], b"", is_end=False)
            nursery.start_soon(end.read_head)
            await wait_all_tasks_blocked()
            await end.send_body(b"x" * 2 * MAX_UNSENT_BYTES, is_end=False)
            async with trio.open_nursery() as waiting:
                waiting.start_soon(partial(end.send_body, b"y", is_end=False))
                await wait_all_tasks_blocked()
                assert client._link.is_backed_up
                ours._out.room = 1 << 20
                theirs.receive_nowait()
                await theirs.send_all(PING)
            nursery.cancel_scope.cancel()


async def test_a_bug_in_sending_is_told_to_who_waits_here(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """And not to the one whose turn it is; once, and all the others hear that the connection is over."""
    ours, _ = stream_pair()
    client, heard = Http2Client(ours), list[BaseException]()
    bug = AssertionError("a bug")

    def broken(data: bytes | memoryview) -> int:
        raise bug

    async def ask() -> None:
        end = client.open()
        try:
            await end.send_request(POST, b"a", [], b"", is_end=False)
            await end.read_head()
        except (Reset, AssertionError) as exc:
            heard.append(exc)

    for _ in range(2):
        nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    turn = Turn.of_this_run()
    turn.is_on = True
    ours.send_nowait = broken   # type: ignore[method-assign]
    client._link.engine._queue(PING)
    client._link.push()
    turn.end()
    await wait_all_tasks_blocked()
    assert sorted(map(str, heard)) == ["a bug", "a fault of ours"]
    assert client.room == 0
