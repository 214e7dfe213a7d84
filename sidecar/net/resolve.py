"""Names to addresses, asked of the resolvers that the snapshot names and of nobody else.

A pod's own resolv.conf, hosts file and search list belong to whoever wrote the pod. Answers are remembered with a floor and a
ceiling to their time to live, absent ones and failures (RFC 9520) briefly; while every resolver fails, what they said before goes on.
dnspython costs a pod 2.4 MB and 20 ms; it is loaded at the start all the same, since nearly every application asks within its first
second and would wait for it.

Trust: an answer must come from the address that was asked, with the question and the random ID of the query. RFC 1035, RFC 5452. Where
a name may lead is judged by who dials, at each dial: an answer that is remembered, or stale, is worth no more than a new one.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Literal, NamedTuple

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
ASK_S = 4.5             # for all attempts at all resolvers: applications ask again after five seconds
MOST_WRONG = 16         # messages that are no answer to a query over UDP; then somebody is guessing, and it goes over TCP (RFC 5452 s9.2)
TTL_FLOOR_S = 5.0
TTL_CEILING_S = 300.0
NEGATIVE_FLOOR_S = 1.0
NEGATIVE_S = 5.0        # the ceiling: what did not exist a moment ago may be what everybody waits for
STALE_S = 1800.0        # for so long an answer goes on when its time is over and no resolver answers (RFC 8767)
RECHECK_S = 30.0        # and for so long they are not asked again
MAX_ANSWERS = 8192
MOST_ADDRESSES = 100    # that are remembered of one answer

Kind = Literal["A", "AAAA"]
KINDS: tuple[Kind, ...] = ("A", "AAAA")


class Answer(NamedTuple):
    """What is remembered of one question.

    Args:
        addresses: in canonical text.
        until: when it is asked again, on trio's clock.
        exists: the name does, with or without such addresses.
        usable_until: until when it goes on while no resolver answers.
        is_stale: it does so already.
        failure: why nobody could answer; then nothing else is known.
    """

    addresses: tuple[str, ...]
    until: float
    exists: bool = True
    usable_until: float = 0.0
    is_stale: bool = False
    failure: str = ""


_Key = tuple[str, Kind, tuple[str, ...]]


class Resolver:
    """
    Args:
        mark: SO_MARK of the sockets, where the exemption goes by mark.

    Attributes:
        stale: answers that were given although their time was over.
    """

    def __init__(self, mark: int | None = None) -> None:
        self._mark = mark
        self._known: dict[_Key, Answer] = {}
        self._asking: dict[_Key, trio.Event] = {}
        self._answered: Address | None = None
        self.stale = 0

    def known(self, name: str, resolvers: tuple[str, ...]) -> tuple[str, ...] | None:
        """What `resolve` answers, where that is remembered: what nearly every request finds. None: it is to be asked."""
        four, six = self._known.get((name, "A", resolvers)), self._known.get((name, "AAAA", resolvers))
        if four is None or six is None or four.failure or six.failure or four.is_stale or six.is_stale:
            return None
        now = trio.current_time()
        return four.addresses + six.addresses if four.until > now < six.until else None

    async def resolve(self, name: str, resolvers: Sequence[str]) -> tuple[str, ...]:
        """IPv4 and IPv6 addresses in canonical text; () if the name has none. NotResolved if nobody answers."""
        servers = tuple(resolvers)
        if (remembered := self.known(name, servers)) is not None:
            return remembered
        with suppress(ValueError):
            return (str(canonical(name.strip("[]"))),)
        found: dict[Kind, Answer] = {}
        failures: list[str] = []

        async def ask(kind: Kind) -> None:
            try:
                found[kind] = await self.lookup(name, kind, servers)
            except NotResolved as exc:
                failures.append(exc.detail)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "AAAA")
            nursery.start_soon(ask, "A")
        addresses = tuple(text for kind in KINDS if kind in found for text in found[kind].addresses)
        if failures and not addresses:
            raise NotResolved(failures[0])
        return addresses

    async def lookup(self, name: str, kind: Kind, resolvers: Sequence[str]) -> Answer:
        """The addresses of one family. Who asks what is being asked already waits for that answer. NotResolved if nobody answers."""
        if not resolvers:
            raise NotResolved(f"{name}: the mesh names no resolver (MeshPolicy: resolvers)")
        key = (name, kind, tuple(resolvers))
        while (answer := self._fresh(key)) is None:
            if (asked := self._asking.get(key)) is not None:
                await asked.wait()      # in vain, if who asked was cancelled: then it is our turn
                continue
            asked = self._asking[key] = trio.Event()
            try:
                self._remember(key, await self._renewed(key))
            finally:
                del self._asking[key]
                asked.set()
        if answer.failure:
            raise NotResolved(answer.failure)
        self.stale += answer.is_stale
        return answer

    def _fresh(self, key: _Key) -> Answer | None:
        answer = self._known.get(key)
        return answer if answer is not None and answer.until > trio.current_time() else None

    def _remember(self, key: _Key, answer: Answer) -> None:
        self._known.pop(key, None)      # the newest are the last to be forgotten
        while len(self._known) >= MAX_ANSWERS:
            del self._known[next(iter(self._known))]
        self._known[key] = answer

    async def _renewed(self, key: _Key) -> Answer:
        """The resolvers' answer; while they fail what they said before, for a while; or that they failed."""
        failure = f"{key[0]}: no resolver answered in {ASK_S:g} s"
        with trio.move_on_after(ASK_S):
            try:
                return await self._ask(*key)
            except NotResolved as exc:
                failure = exc.detail
        now, old = trio.current_time(), self._known.get(key)
        if old is not None and old.usable_until > now:
            return old._replace(until=min(now + RECHECK_S, old.usable_until), is_stale=True)
        return Answer((), now + NEGATIVE_S, failure=failure)

    async def _ask(self, name: str, kind: Kind, resolvers: Sequence[str]) -> Answer:
        try:
            query = dns.message.make_query(name, kind)
        except dns.exception.DNSException as exc:
            raise NotResolved(f"{name} is no name that can be asked for: {exc}") from exc
        failure = ""
        for server in self.in_order(resolvers) * ATTEMPTS:
            with trio.move_on_after(ATTEMPT_S) as scope:
                try:
                    reply = await self.exchange(query, server)
                    return _read(reply)
                except (OSError, dns.exception.DNSException, ConnectFailed, trio.BrokenResourceError) as exc:
                    failure = f"{name}: {server} failed: {exc}"
            if scope.cancelled_caught:
                failure = f"{name}: {server} did not answer"
        raise NotResolved(failure)

    def in_order(self, resolvers: Sequence[str]) -> list[Address]:
        """The one that answered last comes first: one that is dead costs one question its time, not every one."""
        return sorted(map(server_address, resolvers), key=lambda server: server != self._answered)

    async def exchange(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        """One query over UDP, over TCP if the answer was truncated or forged ones came. The caller sets the deadline."""
        with trio.socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            if self._mark is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            await sock.connect((server.host, server.port))
            await sock.send(query.to_wire())
            for _ in range(MOST_WRONG):
                data = await sock.recv(4096)
                try:
                    reply = dns.message.from_wire(data, ignore_trailing=True)
                except dns.exception.DNSException:
                    continue    # not an answer to us; the true one may still come
                if query.is_response(reply) and not reply.flags & dns.flags.TC:
                    self._answered = server
                    return reply
                if query.is_response(reply):
                    break
        reply = await self._exchange_tcp(query, server)
        self._answered = server
        return reply

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


def _read(reply: dns.message.Message) -> Answer:
    """The addresses at the end of the answer's own chain of aliases."""
    if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise ConnectFailed(f"the resolver says {dns.rcode.to_text(reply.rcode())}")
    now = trio.current_time()
    assert isinstance(reply, dns.message.QueryMessage)
    try:
        chain = reply.resolve_chaining()
    except dns.exception.DNSException as exc:
        raise ConnectFailed(str(exc)) from exc
    if chain.answer is None:    # the TTL is the SOA's (RFC 2308 s5)
        negative_s = min(max(chain.minimum_ttl, NEGATIVE_FLOOR_S), NEGATIVE_S)
        return Answer((), now + negative_s, reply.rcode() != dns.rcode.NXDOMAIN)
    until = now + min(max(chain.minimum_ttl, TTL_FLOOR_S), TTL_CEILING_S)
    addresses = tuple(str(canonical(item.address)) for item in islice(chain.answer, MOST_ADDRESSES))
    return Answer(addresses, until, usable_until=until + STALE_S)
