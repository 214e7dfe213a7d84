"""The authorizer that a rule at the edge names: asked about a request before it goes on, by a request of our own.

    in the mesh     a call like any other: its rules, balancing, mTLS to exactly its identity
    outside of it   plain HTTP to our own egress judge: approved for this gateway by an EgressPolicy, TLS originated and verified

What it is shown is the request's method, path and some of its fields, never its body. 2xx lets the request in; what else it answers is
the client's answer; and if there is no answer, or none that is whole, in time and short, nobody is let in. Each question is an exchange
of its own in log and ledger, under the ID of the request that it is about.

Trust: the authorizer is the operator's, and what it answers is judged like every upstream's: of its fields a few go on. The client chose
path and fields, which are shown as they were judged. Attacked by tests/proxy/test_authorizer.py.
"""

import trio
from msgspec.structs import replace

from sidecar.model.address import Address
from sidecar.model.client import Client
from sidecar.model.decision import Denied, Permit
from sidecar.model.edge import External
from sidecar.model.errors import DownstreamGone, ReasonedError
from sidecar.model.fields import CLIENT_WORD
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.net.deadline import Deadline
from sidecar.protocol.client_word import word_of
from sidecar.telemetry.access_log import Record

from .egress import approve, plain_decider
from .exchange import Exchange
from .headers import mesh_headers
from .mesh import call
from .originate import Originator
from .plan import Decide, Decision, Plan, Reply, decided
from .runtime import Runtime
from .serve import abandon, carry_out

MOST_S = 9.0                # less than a decision has
MOST_BODY_BYTES = 65536
# What of a refusal the client is told. A cookie, for a login begins with one.
PASSED_ON = frozenset({b"content-type", b"www-authenticate", b"location", b"set-cookie", b"cache-control", b"retry-after"})


class Authorizer:
    """One for the process, so that connections to authorizers are shared and last."""

    def __init__(self, originator: Originator, runtime: Runtime) -> None:
        self._originator = originator
        self._runtime = runtime
        self._ways_out: dict[int, Decide] = {}

    async def ask(
        self, external: External, request: RequestHead, shown: Headers, client: Client, permit: Permit, record: Record
    ) -> Headers | Reply | Denied:
        """What the application is told besides, if the authorizer lets the request in; else what the client is.

        Args:
            shown: the fields of the request as they came, of which `external.sends` go to it.
            permit: by the rule's own judgement.
            record: of the request.
        """
        runtime, within_s = self._runtime, min(external.within_s, MOST_S)
        asked = Record(runtime.wall(), "outbound", dst=_name(external), request_id=record.request_id)
        exchange = Exchange(_Answer(_question(external, request, shown, client, record)), asked)
        decide = self._mesh(external, client, request) if external.service is not None else self._outside(external)
        with trio.move_on_after(within_s):
            await self._carry_out(exchange, decide)
        answer = exchange.end
        assert isinstance(answer, _Answer)
        if asked.code or not answer.is_whole or answer.head is None:
            why = f"{asked.code} {asked.reason} {asked.detail}" if asked.code else f"no whole answer within {within_s:g} s"
            return Denied(Reason.AUTHORIZER_UNREACHED, permit.rule, f"{_name(external)}: {why}")
        status = answer.head.status
        if 200 <= status < 300:
            taken = {name.lower().encode() for name in external.takes}
            return [(name.lower(), value) for name, value in answer.head.headers if name.lower() in taken]
        if not 300 <= status < 500 or status == 304:
            return Denied(Reason.AUTHORIZER_UNREACHED, permit.rule, f"{_name(external)}: it answered {status}")
        return _refusal(answer.head, bytes(answer.body), permit, request)

    async def _carry_out(self, exchange: Exchange, decide: Decide) -> None:
        runtime, record = self._runtime, exchange.record
        try:
            with Deadline() as deadline:
                await carry_out(exchange, runtime, decide, deadline)
            runtime.tell(record)
        except ReasonedError as exc:
            record.refuse(exc.reason, exc.detail)
            runtime.tell(record)
        except BaseException:   # out of time, or the client is gone
            abandon(exchange, runtime)
            raise

    def _mesh(self, external: External, client: Client, about: RequestHead) -> Decide:
        runtime, service = self._runtime, external.service
        assert service is not None

        async def decide(request: RequestHead, record: Record) -> Decision:
            headers = mesh_headers(request, record, runtime.rng)
            headers.append((CLIENT_WORD, word_of(client, about.host, about.port)))
            rules = runtime.rules.current
            to = rules.outbound.service_named(service.service, service.port) if rules is not None else None
            if rules is None or to is None:
                return Denied(Reason.NO_ENDPOINT, detail=f"{service.service}:{service.port} is no Service of the mesh")
            record.rule = to.permit.rule
            return call(request, headers, to, rules, record, runtime)

        return decide

    def _outside(self, external: External) -> Decide:
        host, port, runtime = external.host or "", external.port, self._runtime
        way_out = self._ways_out.setdefault(port, plain_decider(Address("", port), self._originator, runtime))

        async def decide(request: RequestHead, record: Record) -> Decision:
            judged = approve(host, port, runtime, "plain")
            if not isinstance(judged, Denied) and judged.approval.tls is None:     # observed, or approved as it is
                record.rule = judged.permit.rule
                return Denied(Reason.HOST_NOT_APPROVED, judged.permit.rule, f"{host} is approved without TLS; credentials go by TLS alone")
            decision = await decided(way_out(request, record))
            # What an application that speaks plain HTTP is told instead (`stay_plain.py`) is nothing for a browser.
            return replace(decision, adapt=None) if isinstance(decision, Plan) else decision

        return decide


def _name(external: External) -> str:
    return f"{external.service.service}:{external.service.port}" if external.service is not None else f"{external.host}:{external.port}"


def _question(external: External, request: RequestHead, shown: Headers, client: Client, record: Record) -> RequestHead:
    """The request by which the authorizer is asked."""
    wanted = {name.lower().encode() for name in external.sends}
    host, port = (external.service.service, external.service.port) if external.service is not None else (external.host or "", external.port)
    asked_for = request.host if request.port is None else b"%b:%d" % (request.host, request.port)
    headers = [(name, value) for name, value in shown if name.lower() in wanted]
    headers += [
        (b"x-forwarded-method", request.method), (b"x-forwarded-uri", request.target), (b"x-forwarded-host", asked_for),
        (b"x-forwarded-proto", client.scheme.encode()), (b"x-forwarded-for", client.address.encode()),
    ]
    if record.request_id:
        headers.append((b"x-request-id", record.request_id.encode()))
    target = external.prefix.encode() + (request.target if request.target.startswith(b"/") else b"/")
    return RequestHead(request.method, target, host.encode(), None if port == 80 else port, headers, NO_BODY, is_last=False)


def _refusal(head: ResponseHead, body: bytes, permit: Permit, request: RequestHead) -> Reply | Denied:
    reason, detail = Reason.REFUSED_BY_AUTHORIZER, f"it answered {head.status}"
    if request.is_grpc:
        return Denied(reason, permit.rule, detail)
    headers = [(name, value) for name, value in head.headers if name.lower() in PASSED_ON]
    headers.append((b"x-bartizan-reason", f"{reason.code} {reason.token}".encode()))
    headers.append((b"x-bartizan-rule", permit.rule.encode("unicode_escape")))
    kind = Body(BodyKind.LENGTH, len(body)) if body else NO_BODY
    return Reply(
        permit, ResponseHead(head.status, head.phrase, headers, kind, len(body), is_last=False), body,
        denied=Denied(reason, permit.rule, detail),
    )


class _Answer:
    """A serving end that nobody is behind: it has a whole request without a body, and keeps what it is answered, if that is short."""

    can_go_on = False
    is_body_done = True

    def __init__(self, request: RequestHead) -> None:
        self.request = request
        self.trailers: Headers = []
        self.head: ResponseHead | None = None
        self.body = bytearray()
        self.is_whole = False

    def take_buffered(self) -> bytes:
        return b""

    async def read_body(self) -> bytes:
        return b""

    async def send_interim(self, response: ResponseHead) -> None:
        pass

    async def send_head(
        self, response: ResponseHead, piece: bytes, *, is_end: bool, closes: bool = False, trailers: Headers | None = None
    ) -> None:
        self.head = response
        await self.send_body(piece, is_end=is_end)

    async def send_body(self, piece: bytes, *, is_end: bool, trailers: Headers | None = None) -> None:
        self.body += piece
        self.is_whole = is_end
        if len(self.body) > MOST_BODY_BYTES:
            raise DownstreamGone(f"its answer is longer than {MOST_BODY_BYTES} bytes")

    def cut(self) -> None:
        self.is_whole = False

    def finish(self) -> None:
        pass
