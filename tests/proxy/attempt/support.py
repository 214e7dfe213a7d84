"""Exchanges on memory streams: what more than one file of these tests asks."""

from tests.helpers.exchange import GET, OK, Downstream
from tests.helpers.streams import MemoryStream

CHUNKED_POST = b"POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n"


async def idle_connection(down: Downstream) -> MemoryStream:
    """The upstream's end of a connection that waits in the pool."""
    up = await down.reach(GET)
    await up.send_all(OK)
    await down.client.read_until(b"ok")
    return up
