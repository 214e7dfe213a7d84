"""Whatever is decided on a request is done on both ways."""

from collections.abc import Awaitable
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from sidecar.model.decision import Denied
from sidecar.model.errors import Unavailable
from sidecar.model.message import NO_BODY, RequestHead, ResponseHead
from sidecar.model.reason import Reason
from sidecar.model.service import Retries
from sidecar.proxy.plan import Decision, Plan, Reply, Upstream
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import PERMIT, Downstream, Server
from tests.helpers.http2 import GET, POST
from tests.proxy.http2_prompt.support import Decide, Up, carried
from tests.proxy.test_http2 import Client


def with_plan(**changes: Any) -> Decide:
    return lambda request, record, server: replace(server.plan(), **changes)


def with_upstream(**changes: Any) -> Decide:
    def decide(request: RequestHead, record: Record, server: Server) -> Plan:
        return replace(server.plan(), choose=lambda: replace(server.upstream(), **changes))

    return decide


async def waited_for(request: RequestHead, record: Record, server: Server) -> Plan:
    await trio.sleep(1)
    record.rule = "nearest"
    if request.method == b"POST":
        raise Unavailable(Reason.CIRCUIT_OPEN, "too many")
    return server.plan()


def refusing_choice(request: RequestHead, record: Record, server: Server) -> Plan:
    def choose() -> Upstream:
        raise Unavailable(Reason.NO_ENDPOINT, "none is left")

    return replace(server.plan(), choose=server.upstream if request.path == b"/first" else choose)


def raising(request: RequestHead, record: Record, server: Server) -> Plan:
    if request.path == b"/first":
        return server.plan()
    record.rule = "nearest"
    raise Unavailable(Reason.CIRCUIT_OPEN, "too many")


def answered_here(kind: Decision) -> Decide:
    return lambda request, record, server: server.plan() if request.path == b"/first" else kind


def adapted(response: ResponseHead) -> ResponseHead:
    return replace(response, headers=[*response.headers, (b"x-adapted", b"1")])


def rewritten(request: RequestHead, record: Record, server: Server) -> Plan:
    return replace(server.plan(), request=replace(request, target=b"/rewritten"))


AGAIN = Retries(1, ("503", "reset"), ("GET",), 0.1)
REPLY = Reply(PERMIT, ResponseHead(204, b"", [], NO_BODY, None, False), b"")


async def asked_and_answered(client: Client, up: Up, down: Downstream) -> None:
    """A GET and a POST; what reaches the upstream is answered, with 503 the first time."""
    for fields, body in ((GET, None), (POST, b"x" * 100)):
        sid = await client.ask(fields, body)
        async with trio.open_nursery() as nursery:
            async def serve() -> None:
                status = b"503"
                while True:
                    await up.answer(await up.request(), b"ok", [(b":status", status), (b"x-bartizan-reason", b"BZ0101 no-route")])
                    status = b"200"

            nursery.start_soon(serve)
            await client.answer(sid)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("decide", [
    answered_here(Denied(Reason.NO_ROUTE, "nearest")), answered_here(REPLY), raising, waited_for, refusing_choice, rewritten,
    with_plan(adapt=adapted), with_plan(request_s=5.0), with_plan(max_body_bytes=99), with_plan(max_body_bytes=100), with_plan(delay_s=2.0),
    with_plan(retries=AGAIN), with_plan(retries=AGAIN, may_retry=bool), with_plan(retries=replace(AGAIN, attempt_s=1.0)),
    with_plan(spend=bool), with_upstream(is_mesh=True), with_upstream(security="mtls", peer="p", tls="TLSv1.3"),
])
async def test_what_is_decided_is_done_on_both_ways(decide: Decide, autojump_clock: MockClock) -> None:
    told: list[list[object]] = [[], []]

    def noting(notes: list[object]) -> Decide:
        def watched(request: RequestHead, record: Record, server: Server) -> Decision | Awaitable[Decision]:
            decision = decide(request, record, server)
            if not isinstance(decision, Plan):
                return decision
            choose = decision.choose

            def noted() -> Upstream:
                upstream = choose()
                return replace(upstream, observe=lambda is_good: notes.append(is_good), leave=lambda: notes.append("left"))

            return replace(decision, choose=noted, done=lambda: notes.append("done"))

        return watched

    one, other = [
        await carried(asked_and_answered, is_prompt=is_prompt, decide=noting(notes))
        for is_prompt, notes in zip((True, False), told, strict=True)
    ]
    assert one == other
    assert told[0] == told[1]
