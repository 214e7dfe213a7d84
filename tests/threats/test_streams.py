"""Many exchanges on one HTTP/2 connection, given up at any moment: no other one hangs, gets what is not its own, or finds windows short.

Who reads for all others is one of them, and may be the next to be given up: so chance decides who, when and at which end. The seed is
in the name of the test.
"""

import random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import MeshError
from sidecar.model.message import Body, BodyKind, RequestHead, ResponseHead
from sidecar.net.http2_client import Http2AskingEnd, Http2Client
from sidecar.net.http2_server import Http2Server, Http2ServingEnd
from sidecar.protocol.http2.flow import CONNECTION_BYTES
from tests.helpers.streams import MemoryStream, stream_pair

EXCHANGES = 60
AT_ONCE = 12
CHUNKED = Body(BodyKind.CHUNKED)
OK = ResponseHead(200, b"OK", [], CHUNKED, None, False)


def text(number: int, size: int) -> bytes:
    return (b"<%d>" % number) * (size // 4)


class Pair:
    """Both ends of a connection, and who is on it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        one, other = stream_pair(self.rng.choice([100, 5000, 65536]))
        self.streams: tuple[MemoryStream, MemoryStream] = (one, other)
        self.client = Http2Client(one)
        self.server = Http2Server(other)
        self.given_up: set[int] = set()
        self.whole: set[int] = set()

    async def serve(self) -> None:
        async with trio.open_nursery() as nursery:
            while (found := await self.server.next_exchange()) is not None:
                assert isinstance(found, Http2ServingEnd)
                nursery.start_soon(self.answer, found)

    async def answer(self, end: Http2ServingEnd) -> None:
        """Echo; sometimes without listening to the end, sometimes cut."""
        number = int(end.request.path[1:])
        habit = self.rng.random()
        try:
            with end.scope:
                await end.send_head(OK, b"", is_end=False)
                while not end.is_body_done:
                    piece = await end.read_body()
                    if habit < 0.1:
                        self.given_up.add(number)
                        end.cut()
                        return
                    if habit < 0.5:
                        await trio.sleep(self.rng.random())
                    await end.send_body(piece, is_end=False)
                await end.send_body(b"", is_end=True)
        except MeshError:
            pass
        finally:
            end.finish()

    async def ask(self, number: int, room: trio.Semaphore) -> None:
        async with room:
            await trio.sleep(self.rng.random())
            end = self.client.open()
            assert isinstance(end, Http2AskingEnd)
            sent = text(number, self.rng.choice([0, 8, 4000, 70_000, 300_000]))
            with trio.CancelScope() as scope:
                if self.rng.random() < 0.5:
                    self.given_up.add(number)
                    scope.deadline = trio.current_time() + self.rng.random() * 2
                try:
                    assert await self.exchange(end, number, sent) == sent
                    self.whole.add(number)
                except MeshError:
                    assert number in self.given_up
                finally:
                    end.finish()

    async def exchange(self, end: Http2AskingEnd, number: int, sent: bytes) -> bytes:
        request = RequestHead(b"POST", b"/%d" % number, b"a", None, [], CHUNKED, False, is_http2=True)
        await end.send_request(request, b"a", [], b"", is_end=False)
        got = b""
        pauses = self.rng.random() < 0.3
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                try:
                    for at in range(0, len(sent), 20_000):
                        await end.send_body(sent[at:at + 20_000], is_end=False)
                    await end.send_body(b"", is_end=True)
                except MeshError:
                    pass    # whoever reads hears it, too

            nursery.start_soon(upload)
            try:
                await end.read_head()
                while not end.is_body_done:
                    if pauses:
                        await trio.sleep(self.rng.random() / 10)
                    got += await end.read_body()
            except MeshError:
                nursery.cancel_scope.cancel()
                failure = end.failure
            else:
                failure = None
        if failure is not None:
            raise failure
        return got


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_is_given_up_harms_nobody(seed: int, autojump_clock: MockClock) -> None:
    pair = Pair(seed)
    room = trio.Semaphore(AT_ONCE)
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.serve)
            async with trio.open_nursery() as asking:
                for number in range(EXCHANGES):
                    asking.start_soon(pair.ask, number, room)
            await wait_all_tasks_blocked()
            assert pair.client.is_quiet()
            await wait_all_tasks_blocked()
            assert pair.client.is_quiet()
            client, server = pair.client._link, pair.server._link
            assert (client.ends, server.ends, client._followers, server._followers) == ({}, {}, {}, {})
            assert (client.engine.open_streams, server.engine.open_streams, pair.client.is_idle) == (0, 0, True)
            for one, other in ((client.engine, server.engine), (server.engine, client.engine)):
                # Every byte was given back, or is owed: what one may send is what the other expects.
                assert one._send_window == other._window._left
                assert other._window._left + other._window._owed == CONNECTION_BYTES
            pair.client.close()
            nursery.cancel_scope.cancel()
    assert pair.whole | pair.given_up == set(range(EXCHANGES))
