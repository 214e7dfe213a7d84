"""A connection within the process."""

import trio

from sidecar.net.in_process import connection
from sidecar.net.socket_stream import SocketStream


async def test_what_one_end_says_the_other_hears() -> None:
    with trio.fail_after(5), connection() as (ours, theirs):
        await SocketStream(ours).send_all(b"ping")
        assert await SocketStream(theirs).receive_some() == b"ping"


def test_it_ends_with_the_block() -> None:
    with connection() as ends:
        assert all(end.fileno() >= 0 and not end.getblocking() for end in ends)
    assert [end.fileno() for end in ends] == [-1, -1]
