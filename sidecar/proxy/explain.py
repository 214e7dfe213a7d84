"""Would the application reach it, and how? The operator's question, answered by the recipes themselves.

    plain HTTP, mesh     the recipe decides a request and makes its connection, verified as ever; the request is not sent
    TLS, TCP             the recipe serves somebody who says a TLS hello, or nothing (`as_application.py`)
    one that `sends`     the recipe serves somebody who says one request

What a step shows besides, the judges say to whom the recipes ask (`policy/forecast.py`). That a verdict here is the recipe's own, for
every situation, shows tests/proxy/test_explain.py.

Trust: the question is the operator's, by way of the control plane; what it names is judged like the application's words. No byte of the
application's, no secret and no key is in an answer.
"""

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial

import trio
from msgspec.structs import replace as replace_head

from sidecar.model import ports
from sidecar.model.address import Address, canonical, is_address
from sidecar.model.decision import Denied, Permit
from sidecar.model.errors import BadResponse, ConfigError, ReasonedError, TimedOut, Unavailable
from sidecar.model.explanation import STEPS, Explanation, Question, Step, StepName, check_question, no, step
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.net.deadline import Deadline
from sidecar.net.http1_client import Http1Client
from sidecar.net.presented import presented
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import Context, origination
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.cluster_names import service_name
from sidecar.policy.egress import OBSERVED, Kind, ToHost
from sidecar.policy.forecast import NOWHERE, Forecast, forecast, isolation_outside
from sidecar.policy.rules import Rules
from sidecar.protocol.asked import request_of
from sidecar.telemetry.access_log import Record

from .as_application import Serve, Wanted, ask, told, touch
from .dns_guard import DnsGuard
from .egress import plain_decider
from .lease import connect
from .mesh import mesh_decider
from .originate import Originator
from .outbound import serve_destination
from .plan import Plan, decided
from .runtime import Runtime
from .serve import DECISION_S

WITHIN_S = 12.0
OBJECTION_S = 0.25

# At which step a reason is met, wherever it is noticed.
PLACES: dict[StepName, tuple[Reason, ...]] = {
    "snapshot": (Reason.NO_SNAPSHOT,),
    "interception": (Reason.REDIRECT_LOST,),
    "destination": (
        Reason.BAD_HOST, Reason.BAD_TARGET, Reason.METHOD, Reason.BAD_HEAD, Reason.TARGET_TOO_LONG, Reason.OWN_PORT, Reason.NOT_TOLD,
    ),
    "approval": (
        Reason.HOST_NOT_APPROVED, Reason.ADDRESS_NOT_APPROVED, Reason.REQUEST_NOT_APPROVED, Reason.ENTRY_UNREADABLE, Reason.MISDIRECTED,
        Reason.BUDGET_EXHAUSTED, Reason.NAME_NOT_APPROVED, Reason.NAME_SUSPICIOUS,
    ),
    "verification": (Reason.CLIENT_CERTIFICATE_MISSING, Reason.ROOTS_UNUSABLE, Reason.NO_IDENTITY),
    "resolution": (Reason.NAME_NOT_RESOLVED, Reason.SPECIAL_ADDRESS),
    "isolation": (Reason.NETWORK_POLICY_OUT,),
    "connection": (Reason.CONNECT_FAILED, Reason.TIMED_OUT, Reason.NO_ENDPOINT, Reason.CIRCUIT_OPEN, Reason.GATEWAY_UNREACHED),
    "proof": (Reason.SERVER_NOT_VERIFIED, Reason.WRONG_IDENTITY, Reason.PEER_NOT_VERIFIED, Reason.REVOKED, Reason.START_TLS_REFUSED),
}
OURS: tuple[StepName, ...] = STEPS[STEPS.index("snapshot"):]
SELDOM: tuple[StepName, ...] = ("isolation", "answer")      # without these there is nothing to say of them


@dataclass(slots=True)
class Inquiry:
    """One question on its way.

    Attributes:
        found: steps so far.
        at: where it is.
    """

    question: Question
    runtime: Runtime
    originator: Originator
    guard: DnsGuard
    lost: Sequence[str]
    found: dict[StepName, Step] = field(default_factory=dict)
    at: StepName = "snapshot"

    def note(self, name: StepName, words: str, **facts: object) -> None:
        self.found[name] = step(name, "ok", words, facts=facts)

    async def run(self) -> None:
        """Raises ReasonedError where the application would be refused, or fail."""
        runtime, question = self.runtime, self.question
        rules = runtime.rules.current
        if rules is None:
            raise Unavailable(Reason.NO_SNAPSHOT)
        self.note("snapshot", "there is one", digest=rules.digest)
        if not runtime.is_outbound_open.current:
            raise Unavailable(Reason.REDIRECT_LOST, "; ".join(self.lost))
        if question.port in ports.OWN:
            raise Unavailable(Reason.OWN_PORT)
        self.note("interception", "the sidecar's test found every packet rule in place")
        self.at = "destination"
        request = request_of(question)
        host = request.host.decode("ascii")
        if (alias := rules.alias(host)) is not None and not alias.problem and question.kind != "tls":
            host, request = alias.host, replace_head(request, host=alias.host.encode())      # as the recipe has it
        rules = await self._look_for(host, rules)
        meant = forecast(question, host, rules, runtime.wall(), request)
        if question.port == ports.NAME_SERVER:
            self.note("destination", "the sidecar's own DNS guard answers, whatever server is meant")
            return
        self.found |= {one.name: one for one in meant.steps}
        self.at = "resolution"
        to = meant.to or await self._destination(meant, host, rules)
        judged = meant.judged
        if rules.leaving is not None and isinstance(judged, Denied) and (to.host == NOWHERE or judged.reason is Reason.NETWORK_POLICY_OUT):
            raise Unavailable(judged.reason, judged.detail)     # the recipe would judge an address: there is none, or it was judged
        if meant.kind == "plain" and not self._passes_through(to, rules):
            await self._decide(request, to, meant)
        else:
            await self._connect(host, to, meant)
        if question.sends:
            await self._send(request, to, meant)

    async def _look_for(self, host: str, rules: Rules) -> Rules:
        """A Service of another namespace may not be known yet: as the application's first connection, so a question makes it so."""
        outbound, bare = rules.outbound, host.strip("[]")
        if is_address(bare):
            text = bare if outbound.may_be_mesh(Address(str(canonical(bare)), self.question.port)) else ""
        else:
            text = service_name(host, rules.snapshot.outbound.cluster_domain) if outbound.is_told_of_needs else ""
        return await self.runtime.discovery.look_for(text, rules) if text and text not in outbound.service_names else rules

    def _passes_through(self, to: Address, rules: Rules) -> bool:
        """As `serve_destination` has it: neither a Service that speaks HTTP nor a name that is yet to be said."""
        mesh = rules.outbound.service(to)
        return not mesh.service.is_http if mesh is not None else rules.outbound.range(to) is not None

    async def _destination(self, meant: Forecast, host: str, rules: Rules) -> Address:
        """Where the application dials a name: what it resolves to or, for TCP, the name's own synthetic address."""
        port, judged, resolved = self.question.port, meant.judged, NOWHERE
        if meant.gateway:
            self.note("resolution", "left to the gateway")
        elif isinstance(judged, ToHost):
            with suppress(ReasonedError), Deadline() as deadline:      # the recipe meets the same, and after what comes before
                deadline.upstream("name resolution", DECISION_S)
                addresses = await self.originator.addresses(host, judged.approval, rules)
                resolved = addresses[0]
                self.found |= {one.name: one for one in isolation_outside(addresses, _port_of(judged, meant.kind, port), rules)}
                self.note("resolution", f"{host} is {', '.join(addresses)}", addresses=", ".join(addresses),
                          resolvers=", ".join(rules.snapshot.outbound.resolvers))
        return Address((self.runtime.synthetic.address(host) if meant.kind == "tcp" else None) or resolved, port)

    # -- HTTP: decided and connected, nothing sent

    async def _decide(self, request: RequestHead, to: Address, meant: Forecast) -> None:
        runtime = self.runtime
        # Nothing that was kept: a session that is resumed would show no certificate, and the application's connections are its own.
        decide = mesh_decider(to, runtime) if meant.service is not None else plain_decider(to, self.originator.anew(), runtime)
        record = self._record(to)
        with Deadline() as deadline:
            deadline.upstream("name resolution", DECISION_S)
            decision = await decided(decide(request, record))
            if isinstance(decision, Denied):
                raise Unavailable(decision.reason, decision.detail)
            if not isinstance(decision, Plan):
                self.note("answer", "a rule of the pod's own answers it")
                return
            with ExitStack() as over:
                over.callback(decision.done or _nothing)
                self.at = "connection"
                deadline.lift()     # it has one of its own
                upstream = decision.choose()
                over.callback(upstream.leave or _nothing)
                end = await connect(upstream, runtime.pool)
                over.callback(end.finish)       # nothing was asked: it is closed
                assert isinstance(end, Http1Client), "it was asked for with HTTP/1.1"
                self._show(end.stream, upstream.name, upstream.peer, record.waived)
                self.at = "proof"
                await _hear_no_objection(end)

    def _show(self, stream: trio.abc.AsyncResource, name: str, peer: str, waived: str) -> None:
        address = _peer_of(stream.sock) if isinstance(stream, TlsStream | SocketStream) else ""
        self.note("connection", f"connected to {name}", address=address)
        if isinstance(stream, TlsStream):
            self._prove(presented(stream), peer, waived)
        else:
            self.note("proof", "none: no TLS of the sidecar's")

    def _prove(self, facts: Mapping[str, str], peer: str, waived: str, by: str = "") -> None:
        who = peer or f"the certificate is for {facts.get('names', 'nobody')}"
        words = f"{facts['tls']}; {who}, until {facts.get('expires', 'nobody knows when')}{by}"
        self.note("proof", words, peer=peer, waived=waived, **facts)

    # -- played: TLS, TCP, a real request

    async def _connect(self, host: str, to: Address, meant: Forecast) -> None:
        self.at = "connection"
        record = self._record(to)
        context = _client_context(meant) if meant.kind == "tls" else None
        judged = meant.judged
        tls = judged.approval.tls if isinstance(judged, ToHost) and meant.kind == "tcp" and not meant.gateway else None
        awaits_words = tls is not None and tls.start_tls == "mysql"
        is_patient = (isinstance(judged, ToHost) and not awaits_words) or (isinstance(judged, Permit) and judged.rule != OBSERVED)
        wanted = Wanted(host, context, is_patient, tls is not None, bool(meant.gateway))
        try:
            shown = await touch(self._recipe(to, record, self.originator.anew()), record, wanted, self.runtime.accounts)
        except Unavailable as exc:
            if exc.reason is not Reason.TIMED_OUT_DOWNSTREAM:
                raise
            self.found["proof"] = step("proof", "unknown", "the application must speak first, and nobody did for this question")
            return
        self.note("connection", f"connected to {record.upstream}", security=record.security)
        if isinstance(shown, dict):
            by = "; found by a client of this question's, not by the sidecar" if context is not None else ""
            self._prove(shown, record.peer, record.waived, by)
        elif shown is not None:
            self.found["proof"] = step("proof", "unknown", f"{shown}. The sidecar passes it on; the application decides what to believe")
        else:
            self.note("proof", "none by the sidecar")

    async def _send(self, request: RequestHead, to: Address, meant: Forecast) -> None:
        self.at = "answer"
        record, question = self._record(to), self.question
        context = _client_context(meant) if "tls" in (meant.kind, question.kind) else None
        response = await ask(self._recipe(to, record, self.originator), record, request, context)
        self.note("answer", f"{question.method} {question.path} was answered {response.status}", status=response.status)

    def _record(self, to: Address) -> Record:
        return Record(self.runtime.wall(), "outbound", dst=str(to))

    def _recipe(self, to: Address, record: Record, originator: Originator) -> Serve:
        return partial(serve_destination, to=to, runtime=self.runtime, originator=originator, guard=self.guard, record=record)


async def explain(
    question: Question, runtime: Runtime, originator: Originator, guard: DnsGuard, lost: Sequence[str] = ()
) -> Explanation:
    """Never longer than WITHIN_S. Raises ConfigError for a question that is none.

    Args:
        lost: packet rules that are not in place, in words.
    """
    check_question(question)
    inquiry = Inquiry(question, runtime, originator, guard, lost)
    failure: ReasonedError | None = None
    with trio.move_on_after(WITHIN_S) as patience:
        try:
            await inquiry.run()
        except ReasonedError as exc:
            failure = exc
    if patience.cancelled_caught:
        failure = TimedOut(f"no end within {WITHIN_S:g} s")
    rules = runtime.rules.current
    return Explanation(_steps(inquiry, failure), failure.reason.code if failure else "", rules.digest if rules else "")


def _steps(inquiry: Inquiry, failure: ReasonedError | None) -> tuple[Step, ...]:
    """In order; what failed in its place, and nothing said of what would have come behind it."""
    found = inquiry.found
    if failure is None:
        return tuple(found.get(name) or step(name, "skipped", "nothing to find") for name in OURS if name not in SELDOM or name in found)
    at = _place(failure, inquiry.at)
    before = OURS[:OURS.index(at)]
    failed = no(at, failure.reason, failure.detail, found[at].facts if at in found else {})
    if at == "proof" and "connection" not in found:
        found["connection"] = step("connection", "ok", "connected")     # or there would be nobody to prove anything
    return (
        *(found.get(name) or step(name, "skipped", "nothing to find") for name in before if name not in SELDOM or name in found), failed,
        *(step(name, "skipped", "not tried") for name in OURS[len(before) + 1:] if name not in SELDOM or _is_asked(name, inquiry)),
    )


def _is_asked(name: StepName, inquiry: Inquiry) -> bool:
    return name == "answer" and inquiry.question.sends


def _place(failure: ReasonedError, at: StepName) -> StepName:
    """A step that was passed is no place: what failed later failed at another try."""
    if isinstance(failure, TimedOut) or at in ("proof", "answer"):
        return at
    return next((name for name, reasons in PLACES.items() if failure.reason in reasons), at)


async def _hear_no_objection(end: Http1Client) -> None:
    """Whether our certificate was taken a client learns after its handshake (RFC 8446 s4.4.3), and a sidecar says why it was not."""
    with trio.move_on_after(OBJECTION_S):
        response = await end.read_head()
        raise told(response) or BadResponse(f"an answer that nobody asked for: {response.status}")


def _client_context(meant: Forecast) -> Context:
    """Roots as the policy names them for the host, where it does and they are any; else the system's."""
    tls = meant.judged.approval.tls if isinstance(meant.judged, ToHost) else None
    try:
        return origination(min_version="1.2", roots=tls.roots if tls else None, chain=None, key=None)
    except ConfigError:
        return origination(min_version="1.2", roots=None, chain=None, key=None)


def _port_of(judged: ToHost, kind: Kind, dialled: int) -> int:
    """Where the connection goes: TLS that is originated for plain HTTP has a port of its own."""
    return judged.approval.tls.port if kind == "plain" and judged.approval.tls is not None else dialled


def _nothing() -> None:
    pass


def _peer_of(sock: socket.socket) -> str:
    name = sock.getpeername()
    return str(Address(name[0], name[1])) if isinstance(name, tuple) else ""
