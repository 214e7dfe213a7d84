"""A Runtime for recipes under the virtual clock: a fixed date, a log that is kept, and connections that lead to the test."""

import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio
from msgspec.structs import replace

from sidecar.model.address import Address
from sidecar.model.egress import Outbound
from sidecar.model.errors import ConnectFailed
from sidecar.model.ledger import Entry
from sidecar.model.snapshot import Inbound, Snapshot, Workload
from sidecar.net.dial import Dialer
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.proxy.runtime import Runtime
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.ledger import Ledger
from sidecar.telemetry.metrics import Metrics
from tests.helpers.pki import WEB

NOW = 1_800_000_000.0
POD = "10.1.0.5"        # where the workload under test lives
CLIENT = "10.1.0.9"     # who connects to it

Serve = Callable[[socket.socket], Awaitable[object]]


def rules(
    inbound: Inbound = Inbound(), outbound: Outbound = Outbound(), identity: str = WEB, address: str = POD,  # noqa: B008 -- frozen
    *, accept_http10: bool = False,
) -> Rules:
    workload = Workload(identity, "shop", addresses=(address,))
    return Rules.of(Snapshot(workload, accept_http10=accept_http10, inbound=inbound, outbound=outbound), "digest")


class FakeDialer(Dialer):
    """Leads to `servers`, each a function that plays the other end; where there is none the connection is refused.

    Args:
        silent: addresses where nothing answers at all.
        connecting: what happens while a connection is made.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__()
        self._nursery = nursery
        self.servers: dict[Address, Serve] = {}
        self.silent: set[Address] = set()
        self.dialled: list[Address] = []
        self.connecting: Callable[[], object] = bool

    async def connect(self, to: Address) -> socket.socket:
        self.dialled.append(to)
        await trio.lowlevel.checkpoint()
        self.connecting()
        if to in self.silent:
            await trio.sleep_forever()
        if to not in self.servers:
            raise ConnectFailed(f"{to}: Connection refused")
        ours, theirs = socket_pair()
        self._nursery.start_soon(_play, self.servers[to], theirs)
        return ours


async def _play(serve: Serve, sock: socket.socket) -> None:
    with sock:
        await serve(sock)


async def _at_the_end(close: Callable[[], object]) -> None:
    try:
        await trio.sleep_forever()
    finally:
        close()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Unix sockets: what one end sends the other has at once, so that the virtual clock never jumps over it."""
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return one, other


def kept_pair(nursery: trio.Nursery) -> tuple[socket.socket, socket.socket]:
    """The first is closed with the nursery, if not before."""
    one, other = socket_pair()
    nursery.start_soon(_at_the_end, one.close)
    return one, other


class Redirected(socket.socket):
    """The listener's end of a connection that the packet rules brought to it; it knows what the kernel would."""

    def __init__(self, sock: socket.socket, to: Address | None, source: str = CLIENT, port: int = 15006) -> None:
        super().__init__(fileno=sock.detach())
        self.setblocking(False)
        self._to = to
        self._source = source
        self._port = port

    def getpeername(self) -> tuple[str, int]:
        return f"::ffff:{self._source}", 40000

    def getsockname(self) -> tuple[str, int]:
        return f"::ffff:{POD}", self._port

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if (level, option) != (socket.SOL_IP, 80):
            return super().getsockopt(level, option, size) if size else super().getsockopt(level, option)
        if self._to is None:
            raise OSError("no such conntrack entry")
        return struct.pack("!HH4s8x", socket.AF_INET, self._to.port, socket.inet_aton(self._to.host))


class KeptLedger(Ledger):
    """Keeps the entries as they were when they were added, and writes none."""

    def __init__(self) -> None:
        super().__init__(None, 0, lambda: NOW)
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self.entries.append(replace(entry, rules=dict(entry.rules)))


@dataclass
class Bench:
    """
    Args:
        ledger: what it was told.
        wall: what the clock on the wall says.
    """

    runtime: Runtime
    dialer: FakeDialer
    ledger: KeptLedger
    wall: float = NOW
    _lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The access log so far, one mapping for each record."""
        self.runtime.log.flush()
        return self._lines

    def write(self, lines: bytes) -> None:
        self._lines += map(json.loads, lines.splitlines())

    @property
    def codes(self) -> list[str]:
        return [line.get("code", "") for line in self.lines]


@dataclass
class Way:
    """Which one ordinary exchanges go; tests/conftest.py has what is about HTTP go both."""

    is_prompt: bool = True


WAY = Way()


def bench(
    nursery: trio.Nursery, known: Rules | None = None, tls: MeshTls | None = None, *, is_prompt: bool | None = None
) -> Bench:
    dialer = FakeDialer(nursery)
    ledger = KeptLedger()
    made = Bench(
        Runtime(
            rules=Watched(known), tls=Watched(tls), is_outbound_open=Watched(True), dialer=dialer,
            log=AccessLog(lambda lines: made.write(lines)), ledger=ledger, metrics=Metrics(),
            wall=lambda: made.wall, rng=random.Random(1), is_prompt=WAY.is_prompt if is_prompt is None else is_prompt,
        ),
        dialer, ledger,
    )
    nursery.start_soon(_at_the_end, made.runtime.pool.close)
    return made
