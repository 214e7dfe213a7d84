"""What goes over the wires of the node: every frame on every port of the bridge and on the way outside, kept in memory."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

ETH_P_ALL = 3
LARGEST_FRAME = 65536


class Capture:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def count(self, marker: bytes) -> int:
        """How many frames hold the marker."""
        return sum(marker in frame for frame in self.frames)

    def octets(self) -> int:
        return sum(map(len, self.frames))


@asynccontextmanager
async def capturing() -> AsyncIterator[Capture]:
    """Captures while the block runs; what was sent before its end is in."""
    found = Capture()
    wire = trio.socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))   # bound to no interface: all of them

    async def read() -> None:
        while True:
            found.frames.append(await wire.recv(LARGEST_FRAME))

    with wire:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            yield found
            nursery.cancel_scope.cancel()
        while True:   # what is still in the socket's queue
            try:
                with trio.fail_after(0.05):
                    found.frames.append(await wire.recv(LARGEST_FRAME))
            except trio.TooSlowError:
                return
