"""Where connections come in: the ports of one process, bound in one place and served in another.

    sidecar           inbound, for all addresses; outbound on the loopback. Health and metrics are asked through inbound
    egress gateway    its port, health and metrics
    ingress gateway   a port for each that clients know, health and metrics

Of several processes of a gateway the supervisor has health and metrics.
"""

import socket
from collections.abc import Callable
from functools import partial

import msgspec
import trio

from .model.address import client_network
from .model.call import Handler
from .model.config import Config
from .net.deadline import Deadline
from .net.listener import (
    MOST_SHARES_AT_THE_EDGE,
    ConnectionHandler,
    Tally,
    has_ipv6,
    listen_tcp,
    room_for_connections,
    serve_listener,
)
from .net.service import serve_calls
from .net.socket_stream import SocketStream


class Handlers(msgspec.Struct, frozen=True):
    """
    Args:
        edge: by the port that clients know.
    """

    inbound: ConnectionHandler
    outbound: ConnectionHandler
    gateway: ConnectionHandler
    edge: Callable[[int], ConnectionHandler]
    health: Handler
    metrics: Handler


class Doors:
    """Building it binds every port; ConfigError names the one that cannot be had."""

    def __init__(self, config: Config, *, is_gateway: bool) -> None:
        listen, mark = config.listen, config.interception.bypass_mark
        bind = partial(listen_tcp, wildcard(), is_shared=config.worker > 0)
        is_edge = is_gateway and bool(listen.edge)
        self._inbound = [] if is_gateway else [bind(listen.inbound, mark)]
        self._outbound = [] if is_gateway else [listen_tcp(host, listen.outbound) for host in loopback()]
        self._gateway = [bind(listen.gateway, mark)] if is_gateway and not is_edge else []
        self._edge = {known: bind(port, mark) for known, port in listen.edge.items()} if is_edge else {}
        self._own = [listen_tcp(wildcard(), port) for port in (listen.health, listen.metrics)] if is_gateway and not config.worker else []
        self._accepting: list[trio.CancelScope] = []

    def open(self, nursery: trio.Nursery, handlers: Handlers, tally: Tally) -> None:
        """Serve at each of them.

        Args:
            tally: of the connections that carry traffic.
        """
        for listeners, handler in ((self._inbound, handlers.inbound), (self._gateway, handlers.gateway)):
            for listener in listeners:
                nursery.start_soon(partial(serve_listener, listener, handler, tally, accepting=self._until_closed()))
        for listener in self._outbound:     # it stays open while we drain
            nursery.start_soon(serve_listener, listener, handlers.outbound, tally)
        for port, listener in self._edge.items():
            nursery.start_soon(partial(
                serve_listener, listener, handlers.edge(port), tally, room_for_connections() // len(self._edge),
                accepting=self._until_closed(), shares=MOST_SHARES_AT_THE_EDGE, who=client_network,
            ))
        for listener, own in zip(self._own, (handlers.health, handlers.metrics), strict=False):
            nursery.start_soon(serve_listener, listener, partial(serve_own, own), Tally())

    def _until_closed(self) -> trio.CancelScope:
        self._accepting.append(trio.CancelScope())
        return self._accepting[-1]

    def close(self) -> None:
        """Nobody enters any more; who is in stays."""
        for scope in self._accepting:
            scope.cancel()


def wildcard() -> str:
    """Every address of this host."""
    return "::" if has_ipv6() else "0.0.0.0"


def loopback() -> tuple[str, ...]:
    return ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",)


async def serve_own(handler: Handler, sock: socket.socket) -> None:
    with Deadline() as deadline:
        await serve_calls(SocketStream(sock), handler, deadline)
