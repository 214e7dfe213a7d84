"""The pod's questions to any name server come here: names of the cluster and approved hosts are answered, the rest does not exist.

    names of the cluster    asked on as they are, of the resolvers of the snapshot, whatever server the application meant; only what
                            the cluster can know (`policy/cluster_names.py`)
    ExternalName Services   as the host that they stand for, if that is approved: CNAME, and what that host is told
    approved for TCP        the name's synthetic address, whatever else the name is approved for; no IPv6
    approved otherwise      A and AAAA out of the resolver's memory, and only addresses that the name may lead to; TXT where approved
    all else                NXDOMAIN with the extended error "blocked" (RFC 8914, code 15), written down
    what we cannot judge    without a snapshot, while packet rules are lost, before the injector has told: SERVFAIL, "not ready" (code
                            14), since NXDOMAIN would be final

Other types of approved names have no data: an answer of the name's own server would be a way in, and HTTPS and SVCB records (64, 65)
would hide the name of the next connection (ECH) or move it to QUIC. Names below wildcards are judged by `policy/dns_limits.py`. What
is observed, by the mode of egress or of the limits, is answered and written down. So that a flood of refusals fills no log, a few lines
a second are written, and the next one says how many were not.

Trust: the question is the application's; nothing of it leaves but name and type of an approved name, in a message of our making, and of
another server's message nothing reaches the application but addresses and texts, of the name that it asked for; only the cluster's own
answers are passed on as they are. Attacked by tests/proxy/test_dns_guard.py.
"""

import re
import socket
from contextlib import suppress
from typing import Literal

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import trio
from msgspec.structs import replace

from sidecar.model.address import canonical
from sidecar.model.decision import Denied
from sidecar.model.egress import Alias, DnsLimits, EgressHost
from sidecar.model.errors import ConnectFailed, NotResolved
from sidecar.model.reason import Reason
from sidecar.model.route import RateLimit
from sidecar.net.resolve import Kind, Resolver
from sidecar.net.socket_stream import SocketStream
from sidecar.policy.cluster_names import pod_service, searched, service_name, why_no_cluster_name
from sidecar.policy.dns_limits import why_suspicious
from sidecar.policy.egress import OBSERVED
from sidecar.policy.rate_limit import Buckets
from sidecar.policy.rules import Rules
from sidecar.protocol.dns_message import add_addresses, add_alias, add_texts, explain, postpone, read_question, refuse, render, reply_to
from sidecar.telemetry.access_log import Record

from .runtime import Runtime

ANSWER_S = 5.0
IDLE_S = 30.0
SYNTHETIC_TTL_S = 30
LINES_PER_S = 5
LINES_AT_ONCE = 20
SEARCH_LABELS = 4       # of a domain that a pod's search list may add: `europe-west1-b.c.project.internal`
SEARCH_DOMAINS = 8
_PLAIN = re.compile(r"[a-z0-9_.-]+")
UNREADY = (Reason.NO_SNAPSHOT, Reason.REDIRECT_LOST, Reason.NOT_TOLD)
WITHOUT_DATA = (dns.rdatatype.SVCB, dns.rdatatype.HTTPS)
FAMILIES: dict[dns.rdatatype.RdataType, Kind] = {dns.rdatatype.A: "A", dns.rdatatype.AAAA: "AAAA"}


class DnsGuard:
    def __init__(self, runtime: Runtime, resolver: Resolver) -> None:
        self._runtime = runtime
        self._resolver = resolver
        self._lines = Buckets(RateLimit(LINES_PER_S, burst=LINES_AT_ONCE))
        self._unwritten = 0
        self._searched: set[str] = set()

    async def answer(self, data: bytes, *, dst: str = "", is_datagram: bool = True) -> bytes | None:
        """The reply to one message; None (silence) for what is no question.

        Args:
            dst: the server that the application meant, as far as it is known.
        """
        query = read_question(data)
        if query is None:
            return None
        reply = reply_to(query)
        await self._fill(reply, query, dst)
        return render(reply, query, is_datagram=is_datagram)

    async def _fill(self, reply: dns.message.Message, query: dns.message.Message, dst: str) -> None:
        name, kind = query.question[0].name.to_text(omit_final_dot=True).lower(), query.question[0].rdtype
        rules = self._runtime.rules.current
        if rules is None or not self._runtime.is_outbound_open.current:
            reason = Reason.NO_SNAPSHOT if rules is None else Reason.REDIRECT_LOST
            self._refuse(reply, query, Denied(reason), name, dst)
            return
        outbound = rules.snapshot.outbound
        # A name that needs escaping is not what its text looks like: `x\.store.example` is below example, not below store.example. And
        # no name of a host has other characters, which would carry data only.
        is_plain = _PLAIN.fullmatch(name) is not None
        if is_plain and (alias := rules.alias(name)) is not None:
            await self._answer_alias(reply, query, name, alias, rules, dst)
            return
        if is_plain and (name == outbound.cluster_domain or name.endswith(f".{outbound.cluster_domain}")):
            below = name[:-len(outbound.cluster_domain)].rstrip(".")
            service = pod_service(below)
            if service and service not in rules.outbound.service_names and rules.outbound.is_told_of_needs:
                rules = await self._runtime.discovery.look_for(service, rules)
                if service not in rules.outbound.wanted and service not in rules.outbound.service_names:
                    self._refuse(reply, query, Denied(Reason.NOT_TOLD, detail=f"whether there is a Service {service}"), name, dst)
                    return
            if (denied := self._refuse_below_cluster(below, rules)) is not None:
                self._refuse(reply, query, denied, name, dst, is_search=_is_known(below, rules))
                return
            if kind not in WITHOUT_DATA:
                theirs = await self._ask_on(query, rules)
                if _leads_outside(theirs, outbound.cluster_domain):
                    await self._answer_unknown_alias(reply, query, name, rules, dst)
                    return
                reply.set_rcode(theirs.rcode())
                reply.answer, reply.authority = theirs.answer, theirs.authority
            self._count("allowed")
            return
        approval = self._approve(name, rules, dst) if is_plain else Denied(Reason.NAME_NOT_APPROVED, detail="no host has such a name")
        if isinstance(approval, Denied):
            is_search = is_plain and approval.reason is Reason.NAME_NOT_APPROVED and self._is_search(name, rules)
            self._refuse(reply, query, approval, name, dst, is_search=is_search)
            return
        self._count("allowed")
        if kind in FAMILIES:
            await self._resolve(reply, query, name, approval, rules, dst)
        elif kind == dns.rdatatype.TXT and (outbound.dns.txt or _observes(outbound.dns)):
            if not outbound.dns.txt:
                self._note(approval.rule, "TXT is not approved (txt)", name, dst)
            add_texts(reply, await self._ask_on(query, rules))

    # -- judging

    def _refuse_below_cluster(self, below: str, rules: Rules) -> Denied | None:
        """The cluster's own name server is a listener, too: it hears of names that it can know, and of few new ones."""
        limits = rules.snapshot.outbound.dns
        if rules.outbound.observes(self._runtime.wall()) or _observes(limits):
            return None
        if why := why_no_cluster_name(below, rules.outbound.service_names):
            return Denied(Reason.NAME_NOT_APPROVED, detail=why)
        if _is_known(below, rules):
            return None
        why = why_suspicious(below, limits) or self._runtime.names.why_too_many(below, limits)
        return Denied(Reason.NAME_SUSPICIOUS, detail=why) if why else None

    def _approve(self, name: str, rules: Rules, dst: str) -> EgressHost | Denied:
        """The approval that the name has, or that an observation makes up."""
        limits = rules.snapshot.outbound.dns
        is_observed = rules.outbound.observes(self._runtime.wall())
        approval = rules.outbound.named(name)
        if approval is None:
            denied = Denied(Reason.NAME_NOT_APPROVED, detail=f"{name} is not approved for this workload")
            if not is_observed:
                return denied
            self._note(OBSERVED, denied.detail, name, dst)
            return EgressHost(name, OBSERVED)
        if why := self._runtime.names.why_suspicious(name, approval, limits):
            if not is_observed and not _observes(limits):
                return Denied(Reason.NAME_SUSPICIOUS, approval.rule, why)
            self._note(approval.rule, f"{Reason.NAME_SUSPICIOUS.code} {Reason.NAME_SUSPICIOUS.token}: {why}", name, dst)
        return approval

    def _refuse(
        self, reply: dns.message.Message, query: dns.message.Message, denied: Denied, name: str, dst: str, *, is_search: bool = False
    ) -> None:
        self._count("refused", denied.reason)
        say = postpone if denied.reason in UNREADY else refuse
        say(reply, query, f"{denied.reason.code} {denied.reason.token}")
        if not is_search:
            self._tell(denied, name, dst)

    def _is_search(self, name: str, rules: Rules) -> bool:
        """Whether it is an approved name with a search domain behind it, `api.partner.example.c.project.internal`, and not the first
        with that domain, which is written down.
        """
        stem = name
        for _ in range(SEARCH_LABELS):
            stem = stem.rpartition(".")[0]
            if stem and rules.outbound.named(stem) is not None:
                domain = name[len(stem):]
                if domain in self._searched:
                    return True
                if len(self._searched) < SEARCH_DOMAINS:
                    self._searched.add(domain)
                return False
        return False

    def _tell(self, denied: Denied, name: str, dst: str) -> None:
        record = Record(self._runtime.wall(), "outbound", dst=dst, host=name, rule=denied.rule)
        record.refuse(denied.reason, denied.detail)
        self._write(record)

    def _note(self, rule: str, detail: str, name: str, dst: str) -> None:
        """What is answered because it is only observed."""
        self._write(Record(self._runtime.wall(), "outbound", dst=dst, host=name, rule=rule, detail=detail))

    def _write(self, record: Record) -> None:
        """Into the log, and if it is a refusal into the ledger; unless there were too many."""
        if self._lines.take("", trio.current_time()):
            self._unwritten += 1
            return
        if self._unwritten:
            record.detail = f"{record.detail}; before it {self._unwritten} more questions were not written down".removeprefix("; ")
            self._unwritten = 0
        self._runtime.log.add(record)
        if record.code:
            self._runtime.accounts.note(record)

    def _count(self, decision: Literal["allowed", "refused"], reason: Reason | None = None) -> None:
        labels = (("code", reason.code if reason else ""), ("decision", decision))
        self._runtime.metrics.count("bartizan_dns_queries_total", labels)

    # -- answering

    async def _resolve(
        self, reply: dns.message.Message, query: dns.message.Message, name: str, approval: EgressHost, rules: Rules, dst: str
    ) -> None:
        """The addresses that the name may lead to: to others no connection by this name goes."""
        kind = FAMILIES[query.question[0].rdtype]
        if approval.tcp_ports:
            address = self._runtime.synthetic.address(name)
            if address is None:
                reply.set_rcode(dns.rcode.SERVFAIL)
            elif kind == "A":
                add_addresses(reply, kind, (address,), SYNTHETIC_TTL_S)
            return
        try:
            with trio.fail_after(ANSWER_S):
                found = await self._resolver.lookup(name, kind, rules.snapshot.outbound.resolvers)
        except (NotResolved, trio.TooSlowError):
            reply.set_rcode(dns.rcode.SERVFAIL)
            return
        if not found.exists:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        allowed = [
            text for text in found.addresses
            if (":" in text) == (kind == "AAAA") and rules.outbound.may_resolve_to(approval, canonical(text))
        ]
        add_addresses(reply, kind, allowed, found.until - trio.current_time())
        if found.addresses and not allowed:
            denied = Denied(Reason.SPECIAL_ADDRESS, approval.rule, f"{name} resolves to {', '.join(found.addresses)}")
            explain(reply, query, f"{denied.reason.code} {denied.reason.token}")
            self._tell(denied, name, dst)

    async def _answer_alias(
        self, reply: dns.message.Message, query: dns.message.Message, name: str, alias: Alias, rules: Rules, dst: str
    ) -> None:
        """An ExternalName Service: what is told of the host that it stands for, if that is approved."""
        if alias.problem:
            why: EgressHost | Denied = Denied(Reason.NAME_NOT_APPROVED, detail=f"the Service {alias.name} leads nowhere: {alias.problem}")
        else:
            why = self._approve(alias.host, rules, dst)
        if isinstance(why, Denied):
            detail = why.detail if alias.problem else f"the Service {alias.name} stands for {alias.host}: {why.detail}"
            self._refuse(reply, query, replace(why, detail=detail), name, dst)
            return
        self._count("allowed")
        if query.question[0].rdtype in FAMILIES:
            await self._resolve(reply, query, alias.host, why, rules, dst)
        add_alias(reply, alias.host, SYNTHETIC_TTL_S)

    async def _answer_unknown_alias(
        self, reply: dns.message.Message, query: dns.message.Message, name: str, rules: Rules, dst: str
    ) -> None:
        """The cluster's name server knows an ExternalName Service that our snapshot does not: the injector may tell."""
        service = service_name(name, rules.snapshot.outbound.cluster_domain)
        if service and rules.outbound.is_told_of_needs:
            rules = await self._runtime.discovery.look_for(service, rules)
            if (alias := rules.alias(name)) is not None:
                await self._answer_alias(reply, query, name, alias, rules, dst)
                return
            if service not in rules.outbound.wanted:
                self._refuse(reply, query, Denied(Reason.NOT_TOLD, detail=f"what the Service {service} stands for"), name, dst)
                return
        detail = "its answer leads out of the cluster, and no ExternalName Service is known that says so"
        self._refuse(reply, query, Denied(Reason.NAME_NOT_APPROVED, detail=detail), name, dst)

    async def _ask_on(self, query: dns.message.Message, rules: Rules) -> dns.message.Message:
        """What the resolvers say to the same question in a message of ours; SERVFAIL if they say nothing."""
        question = query.question[0]
        # In small letters: which of them are large could be data, and is no business of anybody else's.
        ours = dns.message.make_query(question.name.canonicalize(), question.rdtype)
        for server in self._resolver.in_order(rules.snapshot.outbound.resolvers):
            with trio.move_on_after(ANSWER_S / 2), suppress(
                OSError, dns.exception.DNSException, ConnectFailed, trio.BrokenResourceError
            ):
                return await self._resolver.exchange(ours, server)
        failed = reply_to(query)
        failed.set_rcode(dns.rcode.SERVFAIL)
        return failed

    # -- over TCP

    async def serve_tcp(self, sock: socket.socket, dst: str = "") -> None:
        """Questions over TCP (RFC 7766), one after the other."""
        stream = SocketStream(sock)
        data = b""
        with trio.move_on_after(IDLE_S) as idle:
            while True:
                while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                    more = await stream.receive_some()
                    if not more:
                        return
                    data += more
                end = 2 + int.from_bytes(data[:2], "big")
                question, data = data[2:end], data[end:]
                reply = await self.answer(question, dst=dst, is_datagram=False)
                if reply is None:
                    return
                await stream.send_all(len(reply).to_bytes(2, "big") + reply)
                idle.deadline = trio.current_time() + IDLE_S


def _is_known(below: str, rules: Rules) -> bool:
    """Whether a name below the cluster's domain is that of a Service of the mesh, or what a search list makes of one, or of an approved
    name.
    """
    table = rules.outbound
    stems = searched(below, rules.snapshot.workload.namespace)
    return any(stem.removesuffix(".svc") in table.service_names or table.named(stem) is not None for stem in stems)


def _leads_outside(theirs: dns.message.Message, cluster_domain: str) -> bool:
    """Whether an answer about a name of the cluster's is an alias for a name that is none."""
    domain = dns.name.from_text(cluster_domain)
    return any(
        not item.target.is_subdomain(domain) for rrset in theirs.answer if rrset.rdtype == dns.rdatatype.CNAME for item in rrset
    )


def _observes(limits: DnsLimits) -> bool:
    return limits.mode == "observe"
