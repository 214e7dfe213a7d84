"""Many exchanges at once, drawn at random: whatever happens to them happens on both ways."""

from typing import NamedTuple

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.protocol.http2.frames import Code
from tests.helpers.exchange import Downstream
from tests.helpers.http2 import GET
from tests.proxy.http2_prompt.support import Play, Up, carried
from tests.proxy.test_http2 import GRPC, Client


class Asked(NamedTuple):
    """One of many.

    Args:
        body: None: a GET.
        pieces: of the answer's body.
        delay: rounds that others are answered before.
    """

    body: int | None
    status: int
    pieces: list[int]
    has_trailers: bool
    is_reset: bool
    delay: int


ASKED = st.builds(
    Asked, st.none() | st.integers(0, 3000), st.sampled_from([200, 204, 404, 503]), st.lists(st.integers(0, 9000), max_size=3),
    st.booleans(), st.booleans(), st.integers(0, 3),
)


def all_of(many: list[Asked]) -> Play:
    async def play(client: Client, up: Up, down: Downstream) -> None:
        sids = []
        for number, one in enumerate(many):
            sid = client.h2.get_next_available_stream_id()
            fields = [*(GET if one.body is None else GRPC)[:3], (b":path", b"/%d" % number), *GRPC[4:]]
            client.h2.send_headers(sid, fields, end_stream=one.body is None)
            if one.body is not None:
                client.h2.send_data(sid, b"b" * one.body, end_stream=True)
            sids.append(sid)
        await client.send()
        await up.read(lambda: len(up.whole) == 1 + len(many))
        at = {int(dict(fields)[b":path"][1:]): sid for sid, fields in up.asked.items() if dict(fields)[b":path"] != b"/first"}
        for delay in range(4):
            for number, one in enumerate(many):
                if one.delay == delay:
                    answer(up, at[number], one)
            await up.send()
            await wait_all_tasks_blocked()
        for sid in sids:
            await client.answer(sid)

    def answer(up: Up, sid: int, one: Asked) -> None:
        has_body = one.status != 204 and one.pieces
        is_end = not (has_body or one.has_trailers or one.is_reset)
        up.h2.send_headers(sid, [(b":status", b"%d" % one.status), (b"x-a", b"%d" % one.status)], end_stream=is_end)
        for number, size in enumerate(one.pieces if has_body else ()):
            is_last = number == len(one.pieces) - 1 and not (one.has_trailers or one.is_reset)
            up.h2.send_data(sid, b"a" * size, end_stream=is_last)
        if one.is_reset:
            up.h2.reset_stream(sid, Code.INTERNAL_ERROR)
        elif one.has_trailers:
            up.h2.send_headers(sid, [(b"grpc-status", b"0")], end_stream=True)

    return play


@given(st.lists(ASKED, min_size=1, max_size=8))
def test_however_many_both_ways_are_one(many: list[Asked]) -> None:
    """Requests of one read, answered in any order, with bodies, trailers and resets: each end sees the same of both ways."""
    async def both() -> None:
        one, other = [await carried(all_of(many), is_prompt=is_prompt) for is_prompt in (True, False)]
        # How long a stream that breaks off had lasted is chance: what of it went on before, too.
        assert one == other

    trio.run(both, clock=MockClock(autojump_threshold=0))
