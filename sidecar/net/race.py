"""Several addresses of one host, tried so that one family or address that leads nowhere costs a quarter of a second: happy eyeballs.

IPv6 and IPv4 take turns, IPv6 first. The next address is tried as soon as one fails, or when STAGGER_S have brought nothing; the first
connection wins, and the others are closed. RFC 8305.
"""

import socket
from collections.abc import Sequence
from itertools import chain, zip_longest

import trio

from sidecar.model.address import Address
from sidecar.model.errors import ConnectFailed

from .dial import Dialer

STAGGER_S = 0.25    # RFC 8305 s5
MOST_TRIED = 20     # of those that refuse as of those that are silent: else a name server could have us knock at hundreds of doors
RACE_S = 5.0        # for all of them together: a lost SYN is sent again after 1 and after 3 seconds


def take_turns(addresses: Sequence[Address]) -> list[Address]:
    """Of both families alternately, else in their order. RFC 8305 s4."""
    six = [to for to in addresses if ":" in to.host]
    four = [to for to in addresses if ":" not in to.host]
    return [to for to in chain.from_iterable(zip_longest(six, four)) if to is not None]


async def race(dialer: Dialer, addresses: Sequence[Address]) -> tuple[socket.socket, Address]:
    """A connection to the first address that takes it; ConnectFailed tells of each one why not. After cancellation nothing is open."""
    failures: dict[Address, str] = {}
    begun: list[Address] = []
    winners: list[tuple[socket.socket, Address]] = []

    async def attempt(to: Address, failed: trio.Event) -> None:
        try:
            sock = await dialer.connect(to)
        except ConnectFailed as exc:
            failures[to] = exc.detail
            failed.set()
            return
        winners.append((sock, to))
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + RACE_S
            for to in take_turns(addresses)[:MOST_TRIED]:
                begun.append(to)
                failed = trio.Event()
                nursery.start_soon(attempt, to, failed)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
    except BaseException:
        _close(winners)
        raise
    if winners:
        _close(winners[1:])     # two can arrive at the same moment
        return winners[0]
    raise ConnectFailed("; ".join(failures.get(to, f"{to}: no answer") for to in begun) or "no address to connect to")


def _close(connections: Sequence[tuple[socket.socket, Address]]) -> None:
    for sock, _ in connections:
        sock.close()
