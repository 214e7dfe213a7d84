"""Where NetworkPolicies list where the pod may go: they narrow what is approved, and approve what nobody else does."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import Outbound
from tests.helpers.leave import Pod, pod
from tests.helpers.mesh import echo, is_gone, read_rest, read_until
from tests.helpers.network import NAMED, POLICY, leaving
from tests.helpers.runtime import rules
from tests.proxy.outbound.support import DB, FAR, MESH_RANGES, RANGE, mesh


async def reaches(web: Pod, to: Address, text: bytes = b"ping") -> bool:
    app = web.dial(to)
    try:
        await app.send_all(text)
        return await app.receive_some() == text
    except trio.BrokenResourceError:
        return False
    finally:
        app.close()
        await wait_all_tasks_blocked()


async def test_an_approved_range_leads_where_a_policy_lists_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, near = pod(nursery, leaving(mesh(ranges=(RANGE,)), "203.0.113.8/32")), Address("203.0.113.8", 5432)
    web.bench.dialer.servers |= {FAR: echo, near: echo}
    assert await reaches(web, near)
    assert not await reaches(web, FAR)
    assert web.bench.dialer.dialled == [near]
    assert [(line.get("code", ""), line["rule"]) for line in web.bench.lines] == [("", RANGE.rule), ("BZ0216", NAMED)]


async def test_a_range_ends_when_no_policy_lists_it_any_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(mesh(ranges=(RANGE,)), "203.0.113.0/24"))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    web.bench.runtime.rules.set(leaving(mesh(ranges=(RANGE,)), "203.0.113.0/24!203.0.113.7/32"))
    assert await is_gone(app)
    assert trio.current_time() == 0
    await wait_all_tasks_blocked()
    assert web.bench.lines[0]["detail"] == "no longer permitted"


@pytest.mark.parametrize(("listed", "port", "to", "is_let"), [
    ("203.0.113.0/24", None, FAR, True),
    ("203.0.113.0/24", 5432, FAR, True),
    ("203.0.113.0/24", 5433, FAR, False),
    ("203.0.113.0/24!203.0.113.7/32", None, FAR, False),
    ("203.0.112.0/24", None, FAR, False),
    ("0.0.0.0/0", None, FAR, True),
])
async def test_a_policy_approves_what_its_blocks_list_where_no_other_does(
    listed: str, port: int | None, to: Address, is_let: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = pod(nursery, leaving(rules(), listed, port=port, approves=True))
    web.bench.dialer.servers[to] = echo
    assert await reaches(web, to) is is_let
    (line,) = web.bench.lines
    assert (line.get("code", ""), line["rule"]) == (("", NAMED) if is_let else ("BZ0216", NAMED))
    assert (web.bench.dialer.dialled == [to]) is is_let


async def test_http_to_an_address_that_no_policy_lists_is_told_by_which(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(rules(), "203.0.113.0/24", approves=True))
    app = web.dial(Address("198.51.100.9", 80))
    await app.send_all(b"GET / HTTP/1.1\r\nhost: 198.51.100.9\r\n\r\n")
    answer = await read_rest(app)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"x-bartizan-reason: BZ0216 network-policy-out\r\n" in answer
    assert POLICY.encode() in answer


@pytest.mark.parametrize("to", ["10.9.9.9", "169.254.169.254", "192.0.2.9"])
async def test_a_policys_block_must_mean_a_special_address(to: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, at = rules(outbound=Outbound(cluster_ranges=("192.0.2.0/24",))), Address(to, 5432)
    web = pod(nursery, leaving(known, "0.0.0.0/0", approves=True))
    web.bench.dialer.servers[at] = echo
    assert not await reaches(web, at, b"\x00ping")
    assert web.bench.codes == ["BZ0202"]        # listed, and not approved
    web.bench.runtime.rules.set(leaving(known, f"{to}/32", approves=True))
    assert await reaches(web, at)


async def test_a_policy_that_does_not_approve_only_narrows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(rules(), "203.0.113.0/24"))
    web.bench.dialer.servers[FAR] = echo
    assert not await reaches(web, FAR, b"\x00ping")
    assert web.bench.codes == ["BZ0202"]


async def test_a_policys_approval_leads_to_no_service_that_was_not_told_of(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(rules(outbound=Outbound(mesh_ranges=MESH_RANGES)), "10.96.0.0/16", approves=True))
    web.bench.dialer.servers[DB] = echo
    assert not await reaches(web, DB)
    assert web.bench.codes == ["BZ0602"]


async def test_what_a_policy_approved_ends_when_it_does_no_longer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, leaving(rules(), "203.0.113.0/24", approves=True))
    web.bench.dialer.servers[FAR] = echo
    app = web.dial(FAR)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    web.bench.runtime.rules.set(leaving(rules(), "203.0.113.0/24"))     # an EgressPolicy selects the pod now
    assert await is_gone(app)
    assert trio.current_time() == 0
