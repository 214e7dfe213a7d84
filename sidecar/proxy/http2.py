"""The loop of one HTTP/2 downstream connection: one task reads, each exchange has its own."""

import trio

from .runtime import Runtime
from .serve import Decide, NewRecord


async def serve_http2(
    stream: trio.abc.HalfCloseableStream, runtime: Runtime, decide: Decide, new_record: NewRecord, *, early: bytes = b""
) -> None:
    raise NotImplementedError
