"""To what may be a Service of the mesh of which the injector has not told."""

from collections.abc import Awaitable, Callable

import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.egress import EgressRange, Outbound
from sidecar.policy.rules import Rules
from sidecar.proxy.discovery import WAIT_S
from tests.helpers.exchange import OK
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import echo, http_app, sidecar
from tests.helpers.runtime import rules
from tests.proxy.outbound.support import DB, ENDPOINT, FAR, MESH_RANGES, ONE, RANGE, VIP, ask, mesh

UNTOLD = rules(outbound=Outbound(mesh_ranges=MESH_RANGES, ranges=(EgressRange("10.96.0.0/16", "all"),)))


def telling(web: Pod, told: Rules) -> Callable[[], Awaitable[None]]:
    """An injector that answers the first wish."""
    async def answer() -> None:
        wanted = await web.bench.runtime.discovery.wanted.wait_change(())
        outbound = replace(told.snapshot.outbound, mesh_ranges=MESH_RANGES, wanted=wanted)
        web.bench.runtime.rules.set(rules(outbound=outbound))
    return answer


async def test_a_service_that_was_not_told_of_is_asked_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """By mTLS, and never as the plaintext that an approved range would let out: that range may hold the mesh."""
    web, seen = pod(nursery, UNTOLD), []
    nursery.start_soon(telling(web, mesh(ONE)))
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app(seen, OK))
    assert await ask(web.dial(VIP)) == OK
    assert web.bench.runtime.discovery.wanted.current == (VIP.host,)
    assert web.bench.dialer.dialled == [ENDPOINT]
    assert trio.current_time() == 0


async def test_while_nobody_tells_there_is_no_plaintext_to_what_may_be_the_mesh(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, UNTOLD)
    for _ in range(2):
        app = web.dial(VIP)
        assert b"BZ0602" in await ask(app)
        app.close()
    await wait_all_tasks_blocked()
    assert (web.bench.dialer.dialled, web.bench.codes) == ([], ["BZ0602"] * 2)
    assert WAIT_S <= trio.current_time() < 2 * WAIT_S       # the second did not wait


async def test_what_is_no_service_is_what_it_was(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, UNTOLD)
    nursery.start_soon(telling(web, UNTOLD))
    web.bench.dialer.servers[DB] = echo
    app = web.dial(DB)
    await app.send_all(b"bytes")
    assert await app.receive_some() == b"bytes"
    assert web.bench.runtime.discovery.wanted.current == (DB.host,)


async def test_outside_of_the_mesh_nobody_is_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, rules(outbound=Outbound(mesh_ranges=MESH_RANGES, ranges=(RANGE,))))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"bytes")
    assert await app.receive_some() == b"bytes"
    assert (web.bench.runtime.discovery.wanted.current, trio.current_time()) == ((), 0)
