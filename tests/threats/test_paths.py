"""Which path is it? P1 to P6: what a rule judges is what the origin gets, to the byte, and no spelling of a guarded path passes.

/admin is for somebody else, everything besides for the attacker, who comes with a certificate. The origin is taken for the most
obliging server there is (`helpers/obliging.py`). No request that it would lead to /admin may reach it.
"""

import itertools

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from sidecar.model.egress import EgressHost, Outbound
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.snapshot import Inbound
from sidecar.policy.authorize import RouteTable
from sidecar.policy.egress import OutboundTable
from sidecar.protocol.target import judge_target
from tests.helpers.attack import Chain, request
from tests.helpers.obliging import obliging

GUARDED = Inbound(ports={8080: "http"}, routes=(
    Route("admin", (Caller("root", "ops"),), matches=(Match(PathMatch("/admin")),)),
    Route("exact", (Caller("root", "ops"),), matches=(Match(PathMatch("/public/secret", "Exact")),)),
    Route("rest", (Caller("web", "shop"),)),
))


def is_guarded(path: bytes) -> bool:
    return path == b"/public/secret" or path == b"/admin" or path.startswith(b"/admin/")


DOTS = [
    b"..", b"%2e%2e", b"%2E%2E", b".%2e", b"%2e.", b"%252e%252e", b"%25%32%65%25%32%65", b"%%32%65%%32%65", b"%u002e%u002e",
    b"%c0%ae%c0%ae", b"%C0%AE.",
    b"%e0%80%ae%e0%80%ae", b"%c0%2e%c0%2e", b"..;", b"..;x=y", b".;.", b"..%00", b"..%20", b"..%09", b"..%3b", b"%2e%2e;", b"..%23",
    b"..%3f", b".%00.", b"%uff0e%uff0e",
    b"\xef\xbc\x8e\xef\xbc\x8e", b"%ef%bc%8e%ef%bc%8e",
]
SLASHES = [
    b"/", b"//", b"///", b"\\", b"/\\", b"%2f", b"%2F", b"%5c", b"%5C", b"%252f", b"%25%32%66", b"%%32%66", b"%u002f", b"%u2215", b"%c0%af",
    b"%C0%2F", b"%e0%80%af", b"%c1%9c",
    b"%f0%80%80%af", b"/./", b"/%2e/", b"/;/", b"/;x/", b";/", b"%00/", b"/%00", b"%0a", b"%0d%0a", b"?/", b"#/", b"%23/", b"%3f/",
]
P1_P2 = [b"/public%b%b%badmin" % (one, dots, other) for dots, one, other in itertools.product(DOTS, SLASHES, SLASHES[:12])]
P3 = [
    b"/admin;jsessionid=1", b"/admin;", b"/admin;x=y/", b"/;/admin", b"/;x/admin", b"/..;/admin", b"/public/..;/admin",
    b"/public/..;x/admin", b"/admin;/x", b"/admin;%2f..", b"/admin/;x",
    b"/ad;x/min", b"/;admin", b"/admin%3bx", b"/admin%3Bx=y/z", b"/public/%2e%2e;/admin", b"/public/.;/../admin", b"/admin;x?y",
    b"/.;/admin", b"/x/..;;/admin", b"/public/secret;", b"/public/secret;a=b",
]
P4 = [
    b"/admin/", b"/admin//", b"//admin", b"/admin/.", b"/admin/./", b"/admin/..", b"/admin/../admin", b"/./admin", b"/%61dmin",
    b"/%61%64%6d%69%6e", b"/admi%6E", b"/admin%2f", b"/admin%2fx",
    b"/admin%5cx", b"/admin?x", b"/admin?", b"/admin#", b"/admin%23", b"/admin%3f", b"/admin%3fx", b"/admin%00", b"/admin%0a", b"/admin%20",
    b"/admin%09", b"/%20admin", b"/%09/admin", b"/admin\\",
    b"\\admin", b"/\\admin", b"admin", b"", b"?/admin", b"/%", b"/%2", b"/%zz/admin", b"/%u0061dmin", b"/%2561dmin",
    b"http://shop.test/admin", b"http://shop.test//admin", b"http://shop.test/%61dmin",
    b"http://shop.test/x/../admin", b"HTTP://SHOP.TEST/admin/x", b"http://shop.test:80/admin", b"/public/secret", b"/public/secr%65t",
    b"/public/%73ecret?x", b"/public//secret", b"/public/./secret",
    b"/public/x/../secret", b"/public%2fsecret", b"/public/secret%2e", b"/public/secret/", b"/" + b"x/../" * 1000 + b"admin",
    b"/" + b"./" * 2000 + b"admin",
]
TARGETS = {"P1-P2": P1_P2, "P3": P3, "P4": P4}


async def reached(chain: Chain, targets: list[bytes]) -> list[tuple[bytes, bytes]]:
    """(asked, arrived) of the targets that reach the origin; the others were refused as bad, or by their rule."""
    found = []
    stream = await chain.connect()
    for target in targets:
        seen = len(chain.origin.messages)
        await stream.send_all(request(target))
        answer = await stream.receive_some()
        code = int(answer[9:12])
        assert (code == 200) == (len(chain.origin.messages) > seen), target
        if code == 200:
            found.append((target, chain.origin.messages[-1].start[1]))
        else:
            assert code in (400, 403, 414), (target, answer)
            if code != 403:
                await stream.aclose()
                stream = await chain.connect()
    await stream.aclose()
    assert chain.origin.faults == []
    return found


@pytest.mark.parametrize("row", ["P3", "P4"])
async def test_no_spelling_of_a_guarded_path_arrives(row: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    assert any(is_guarded(obliging(target)) for target in TARGETS[row])     # they would, were it not for us
    for target, arrived in await reached(Chain(nursery, GUARDED, is_meshed=True), TARGETS[row]):
        assert not is_guarded(obliging(arrived)), target


def test_P1_P2_no_way_out_of_a_folder_is_a_path() -> None:
    """Too many for the chain: what is no path to the judge reaches no rule; what is one is no guarded one."""
    for target in P1_P2:
        try:
            judged = judge_target(target)
        except ValueError:
            continue
        assert not is_guarded(obliging(judged)), target
    assert len(P1_P2) > 10_000
    assert sum(is_guarded(obliging(target)) for target in P1_P2) > 1000


async def test_P1_P2_the_same_by_the_chain(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for target, arrived in await reached(Chain(nursery, GUARDED, is_meshed=True), P1_P2[::61]):
        assert not is_guarded(obliging(arrived)), target


async def test_P1_letters_are_decoded_once_and_judged_decoded(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Every byte, escaped, at the end of a name: unreserved ones become themselves, others stay escaped, the rest is refused."""
    taken = dict(await reached(Chain(nursery, GUARDED, is_meshed=True), [b"/x%%%02x" % byte for byte in range(256)]))
    unreserved = {byte for byte in range(256) if bytes([byte]).isalnum() or byte in b"-._~"}
    assert {target: arrived for target, arrived in taken.items() if b"%" not in arrived} == {
        b"/x%%%02x" % byte: b"/x%c" % byte for byte in unreserved
    }
    assert all(arrived == target[:3] + target[3:].upper() for target, arrived in taken.items() if b"%" in arrived)
    refused = {byte for byte in range(256) if b"/x%%%02x" % byte not in taken}
    assert refused == {*range(32), 127, 0x2F, 0x5C, *range(128, 256)}       # what is left above 0x7f is not UTF-8 alone


@pytest.mark.parametrize("target", [pytest.param(target, id=f"P4-{number}") for number, target in enumerate([
    b"/Admin", b"/ADMIN", b"/administrator", b"/admin.", b"/admin%20", b"/admin~", b"/x/admin", b"/public/secrets", b"/public/secret/x",
    b"/public/secret.",
])])
async def test_another_path_is_another_path(target: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Rules are exact and case-sensitive: whose server is not has to write its rules as allow-lists, where this is a refusal."""
    chain = Chain(nursery, GUARDED, is_meshed=True)
    assert await reached(chain, [target]) == [(target, target)]
    only_public = Inbound(ports={8080: "http"}, routes=(Route("one", (Caller("web", "shop"),), matches=(Match(PathMatch("/admin")),)),))
    if not target.startswith(b"/admin/"):
        assert await reached(Chain(nursery, only_public, is_meshed=True), [target]) == []


@pytest.mark.parametrize(("length", "statuses"), [
    pytest.param(8191, [200], id="P4-8191"), pytest.param(8192, [200], id="P4-8192"), pytest.param(8193, [414], id="P4-8193"),
    pytest.param(60_000, [414], id="P4-60000"),
])
async def test_how_long_a_target_may_be(length: int, statuses: list[int], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    outcome = await Chain(nursery).attack(request(b"/" + b"a" * (length - 1)))
    assert (outcome.statuses, len(outcome.forwarded)) == (statuses, statuses.count(200))


# -- P5: judged and forwarded are one string


def _head(path: bytes) -> RequestHead:
    return RequestHead(b"GET", path, b"shop.test", None, [], NO_BODY, False)


_TABLE = RouteTable(GUARDED.routes or ())
_PIECES = st.sampled_from([
    b"/", b"admin", b"public", b"secret", b".", b"..", b"%", b"2", b"e", b"f", b"%2e", b"%2f", b"%5c", b"%61", b"%25", b";", b"\\", b"?",
    b"#", b"%00", b"%c0%af", b"%C3%A9", b"x", b"A", b"~", b"!",
])


@given(st.lists(_PIECES, max_size=12).map(b"".join).map(b"/".__add__))
@example(b"/public/%2e%2e/admin")
@example(b"/%61dmin")
def test_P5_whoever_judges_the_target_again_says_the_same(target: bytes) -> None:
    """Judging is idempotent, and where no rule of ours guards it, no server however obliging is led to a guarded path."""
    try:
        judged = judge_target(target)
    except ValueError:
        return
    assert judge_target(judged) == judged
    route = _TABLE.find(8080, _head(judged))
    assert route is not None
    assert (route.rule.name == "rest") == (not is_guarded(obliging(judged)))


# -- P6: rules that can be asked anything


@given(st.text("ab.-", max_size=40))
@example("evila.com")
def test_P6_a_wildcard_stands_for_whole_labels(name: str) -> None:
    table = OutboundTable(Outbound(hosts=(EgressHost("*.a.com", "rule"),)))
    for host in (name, name + "a.com", name + ".a.com", name + "a.com.evil.test"):
        assert (table.named(host) is not None) == (host.endswith(".a.com"))


@pytest.mark.parametrize("path", [
    pytest.param(path, id=f"P6-{path[:4].decode()}")
    for path in (b"/" + b"a" * 8191, b"/" + b"a/" * 4095, b"/" + b"%61" * 2730, b"/" + b"!" * 8191, b"/" + b"-" * 8190 + b"%")
])
def test_no_target_takes_long(path: bytes) -> None:
    """Judged two hundred times over: with a pattern that backtracks a single one would outlast any patience."""
    for _ in range(200):
        try:
            judge_target(path)
        except ValueError:
            pass
