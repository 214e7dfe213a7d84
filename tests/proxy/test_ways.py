"""What requests to one host share. The connections themselves: tests/proxy/test_egress.py."""

import trio
from msgspec.structs import replace

from sidecar.model.address import Address
from sidecar.model.decision import Permit
from sidecar.model.egress import EgressHost, Origination, Outbound
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.proxy import ways
from sidecar.proxy.originate import Originator
from sidecar.proxy.plan import Plan, Upstream, decided
from sidecar.proxy.runtime import Runtime
from sidecar.proxy.ways import Ways
from sidecar.telemetry.access_log import Record
from tests.helpers.leave import FakeResolver
from tests.helpers.runtime import bench, rules

APPROVAL = EgressHost("*.partner.example", "partners")


class Asking:
    def __init__(self, runtime: Runtime, caller: str = "") -> None:
        self.resolver = FakeResolver()
        self.originator = Originator(runtime.rules, self.resolver)
        self.ways = Ways(self.originator, runtime, caller)

    async def upstream(
        self, host: str = "a.partner.example", approval: EgressHost = APPROVAL, *, is_http2: bool = False, port: int = 80
    ) -> Upstream:
        self.resolver.names.setdefault(host, ("203.0.113.10",))
        request = RequestHead(b"GET", b"/", host.encode(), None, [], NO_BODY, False, is_http2=is_http2)
        plan = await decided(self.ways.plan(
            request, [], Address("203.0.113.10", port), Permit("partners"), approval, rules(outbound=Outbound(hosts=(approval,))),
            Record(0.0, "outbound"), lambda: True,
        ))
        assert isinstance(plan, Plan)
        return plan.choose()


async def test_what_is_the_same_leads_to_the_same_connections_and_nothing_else_does(nursery: trio.Nursery) -> None:
    runtime = bench(nursery).runtime
    asking = Asking(runtime)
    first = await asking.upstream()
    assert (await asking.upstream()).key == first.key
    others = [
        await asking.upstream("b.partner.example"), await asking.upstream(is_http2=True),
        await asking.upstream(approval=replace(APPROVAL, tls=Origination(min_version="1.3"))),
        await asking.upstream(approval=replace(APPROVAL, tls=None)),
        await Asking(runtime, "spiffe://example.org/ns/shop/sa/web").upstream(),
    ]
    asking.resolver.names["a.partner.example"] = ("203.0.113.11",)
    others.append(await asking.upstream())
    assert len({first.key, *(one.key for one in others)}) == 1 + len(others)


async def test_each_port_that_was_dialled_has_its_own_leave(nursery: trio.Nursery) -> None:
    runtime = bench(nursery).runtime
    asking = Asking(runtime)
    first = await asking.upstream()
    asking.ways = Ways(asking.originator, runtime)      # of another connection
    assert (await asking.upstream()).key == first.key
    asking.ways = Ways(asking.originator, runtime)
    assert (await asking.upstream(port=8080)).key != first.key


async def test_the_order_of_addresses_is_nobodys_word(nursery: trio.Nursery) -> None:
    asking = Asking(bench(nursery).runtime)
    asking.resolver.names["a.partner.example"] = ("203.0.113.10", "203.0.113.11")
    first = await asking.upstream()
    asking.resolver.names["a.partner.example"] = ("203.0.113.11", "203.0.113.10")
    assert (await asking.upstream()).key == first.key


async def test_a_connection_that_asks_many_hosts_holds_few(nursery: trio.Nursery) -> None:
    runtime = bench(nursery).runtime
    asking = Asking(runtime)
    for i in range(2 * ways.MOST_WAYS):
        await asking.upstream(f"h{i}.partner.example")
    assert len(asking.ways._known) == ways.MOST_WAYS
