"""Names to addresses, asked of the resolvers that the snapshot names and of nobody else.

A pod's own resolv.conf, hosts file and search list belong to whoever wrote the pod. Answers are remembered with a floor and a
ceiling to their time to live, absent ones briefly. dnspython costs a pod 2.4 MB and 20 ms; it is loaded at the start all the same,
since nearly every application asks within its first second and would wait for it.
Trust: an answer must come from the address that was asked, with the question and the random ID of the query. RFC 1035, RFC 5452.
"""

import socket
from collections.abc import Sequence
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import trio

from sidecar.model.address import Address, canonical, server_address
from sidecar.model.errors import ConnectFailed, NotResolved

from .dial import Dialer

ATTEMPT_S = 2.0
ATTEMPTS = 2
TTL_FLOOR_S = 5.0
TTL_CEILING_S = 300.0
NEGATIVE_S = 5.0
MAX_NAMES = 4096


class Known(NamedTuple):
    addresses: tuple[str, ...]
    until: float


class Resolver:
    """
    Args:
        mark: SO_MARK of the sockets, where the exemption goes by mark.
    """

    def __init__(self, mark: int | None = None) -> None:
        self._mark = mark
        self._known: dict[tuple[str, tuple[str, ...]], Known] = {}

    async def resolve(self, name: str, resolvers: Sequence[str]) -> tuple[str, ...]:
        """IPv6 and IPv4 addresses in canonical text; () if the name has none. NotResolved if nobody answers."""
        try:
            return (str(canonical(name.strip("[]"))),)
        except ValueError:
            pass
        key = (name, tuple(resolvers))
        known = self._known.get(key)
        if known is not None and known.until > trio.current_time():
            return known.addresses
        if not resolvers:
            raise NotResolved(f"{name}: the mesh names no resolver (MeshPolicy: resolvers)")
        found: dict[str, Known] = {}
        failures: list[str] = []

        async def ask(kind: str) -> None:
            try:
                found[kind] = await self._ask(name, kind, resolvers)
            except NotResolved as exc:
                failures.append(exc.detail)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "AAAA")
            nursery.start_soon(ask, "A")
        if not found:
            raise NotResolved(failures[0])
        answers = [found[kind] for kind in ("A", "AAAA") if kind in found]
        until = min(answer.until for answer in answers)
        if failures:    # half an answer: ask for the other half soon
            until = min(until, trio.current_time() + NEGATIVE_S)
        result = Known(tuple(text for answer in answers for text in answer.addresses), until)
        while len(self._known) >= MAX_NAMES:
            del self._known[next(iter(self._known))]
        self._known[key] = result
        return result.addresses

    async def _ask(self, name: str, kind: str, resolvers: Sequence[str]) -> Known:
        try:
            query = dns.message.make_query(name, kind)
        except dns.exception.DNSException as exc:
            raise NotResolved(f"{name} is no name that can be asked for: {exc}") from exc
        failure = ""
        for attempt in range(ATTEMPTS * len(resolvers)):
            server = server_address(resolvers[attempt % len(resolvers)])
            with trio.move_on_after(ATTEMPT_S) as scope:
                try:
                    reply = await self.exchange(query, server)
                    return _read(reply)
                except (OSError, dns.exception.DNSException, ConnectFailed, trio.BrokenResourceError) as exc:
                    failure = f"{name}: {server} failed: {exc}"
            if scope.cancelled_caught:
                failure = f"{name}: {server} did not answer"
        raise NotResolved(failure)

    async def exchange(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        """One query over UDP, over TCP if the answer was truncated. The caller sets the deadline."""
        with trio.socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            if self._mark is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            await sock.connect((server.host, server.port))
            await sock.send(query.to_wire())
            while True:
                data = await sock.recv(4096)
                try:
                    reply = dns.message.from_wire(data, ignore_trailing=True)
                except dns.exception.DNSException:
                    continue    # not an answer to us; the true one may still come
                if query.is_response(reply):
                    break
        if not reply.flags & dns.flags.TC:
            return reply
        return await self._exchange_tcp(query, server)

    async def _exchange_tcp(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        sock = await Dialer(self._mark).connect(server)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        async with stream:
            wire = query.to_wire()
            await stream.send_all(len(wire).to_bytes(2, "big") + wire)
            data = b""
            while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                more = await stream.receive_some(65537)
                if not more:
                    raise ConnectFailed("the resolver closed")
                data += more
        reply = dns.message.from_wire(data[2:])
        if not query.is_response(reply):
            raise ConnectFailed("the resolver answered another question")
        return reply


def _read(reply: dns.message.Message) -> Known:
    """The addresses at the end of the answer's own chain of aliases."""
    if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise ConnectFailed(f"the resolver says {dns.rcode.to_text(reply.rcode())}")
    now = trio.current_time()
    assert isinstance(reply, dns.message.QueryMessage)
    try:
        chain = reply.resolve_chaining()
    except dns.exception.DNSException as exc:
        raise ConnectFailed(str(exc)) from exc
    if chain.answer is None:
        return Known((), now + NEGATIVE_S)
    addresses = tuple(str(canonical(item.address)) for item in chain.answer)
    return Known(addresses, now + min(max(chain.minimum_ttl, TTL_FLOOR_S), TTL_CEILING_S))
