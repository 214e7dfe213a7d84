"""Who may take the way into the application, request by request, and what rules do on it."""

import socket
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.route import Caller, DirectResponse, Fault, HeaderEdit, Jwt, Match, PathMatch, Redirect, Rewrite, Route, TokenIssuer
from sidecar.model.service import Endpoint
from sidecar.model.snapshot import Inbound
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream
from tests.certs.support import JWKS, token
from tests.helpers import network
from tests.helpers.exchange import GET, OK
from tests.helpers.inbound import ADMIN_FIRST, BY_WEB, FROM_WEB, OPAQUE, PERMISSIVE, of_orders
from tests.helpers.mesh import APP, arrive, call, echo, http_app, meshed, read_rest, read_until, tls_of
from tests.helpers.network import NAMED, POLICY
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import CLIENT, Bench

# -- may it?


async def test_each_request_is_judged_by_the_rules_of_its_moment(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, seen = meshed(nursery, of_orders(ADMIN_FIRST)), []
    known.dialer.servers[APP] = http_app(seen, OK)
    stream = await call(arrive(nursery, known))

    async def ask(path: bytes) -> bytes:
        await stream.send_all(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path)
        return await stream.receive_some()

    assert await ask(b"/x") == OK
    assert b"x-bartizan-reason: BZ0102 identity-not-allowed\r\nx-bartizan-rule: admin\r\n" in await ask(b"/admin/x")
    assert await ask(b"/x") == OK
    known.runtime.rules.set(of_orders(Inbound(routes=())))
    assert b"BZ0101 no-route" in await ask(b"/x")
    known.runtime.rules.set(of_orders(Inbound(without_routes="nothing")))
    assert b"BZ0101 no-route" in await ask(b"/x")
    assert len(seen) == 2


async def test_a_peer_whose_certificate_has_ended_meanwhile(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    known.dialer.servers[APP] = http_app([], OK)
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    await read_until(stream, b"ok")
    known.wall = tls_of(WEB).credentials.not_after
    await stream.send_all(GET)
    assert b"BZ0501 peer-not-verified" in await read_rest(stream)


# -- what rules say beyond leave

ISSUER = "https://issuer.example"
WITH_TOKEN = Route("r", (Caller(claims={"groups": ("admins",)}),), jwt=Jwt(ISSUER, ("shop",)))


def told(known: Bench, *fields: str) -> list[list[object]]:
    return [[line.get(field, "") for field in fields] for line in known.lines]


async def entering(nursery: trio.Nursery, *routes: Route, answer: bytes = OK, **more: Any) -> tuple[Bench, TlsStream, list[bytes]]:
    known, seen = meshed(nursery, of_orders(Inbound(routes=routes, **more))), []
    known.dialer.servers[APP] = http_app(seen, answer)
    return known, await call(arrive(nursery, known)), seen


async def ask(stream: trio.abc.Stream, target: str = "/", *fields: str, end: bytes = b"ok") -> str:
    lines = [f"GET {target} HTTP/1.1", "host: orders.shop:8080", *fields]
    await stream.send_all(("\r\n".join(lines) + "\r\n\r\n").encode())
    return (await read_until(stream, end)).decode()


async def test_heads_are_edited_both_ways(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    _, stream, seen = await entering(
        nursery,
        Route("r", BY_WEB, matches=(Match(PathMatch("/api")),), rewrite=Rewrite(prefix="/", hostname="inner"),
              request_headers=HeaderEdit({"x-a": "1"}, remove=("cookie",)), response_headers=HeaderEdit({"cache-control": "no-store"})),
    )
    answer = await ask(stream, "/api/x%40y?q=/api", "cookie: a=b", "X-A: 9")
    assert seen[0].split(b"\r\n")[:3] == [b"GET /x%40y?q=/api HTTP/1.1", b"host: inner", b"x-a: 1"]
    assert b"cookie" not in seen[0]
    assert answer == OK.decode().replace("content-length", "cache-control: no-store\r\ncontent-length")
    stream.close()


@pytest.mark.parametrize("target", ["/a", "/a%40b?x=%zz&y", "/%C3%A9/a@b", "/100%25", "/a?b?c"])
async def test_the_path_that_was_judged_reaches_the_application(
    nursery: trio.Nursery, autojump_clock: MockClock, target: str
) -> None:
    known, stream, seen = await entering(nursery, Route("r", BY_WEB, matches=(Match(PathMatch("/")),), max_body_bytes=1))
    await ask(stream, target)
    assert seen[0].startswith(f"GET {target} HTTP/1.1\r\n".encode())
    stream.close()
    await wait_all_tasks_blocked()
    assert told(known, "path") == [[target.partition("?")[0]]]


@pytest.mark.parametrize("target", ["/secret", "/%73ecret", "/secret/", "/%73%65cret/x", "/secret?x=/public", "/s%65cret%2Cx/../secret"])
async def test_no_spelling_dodges_the_narrow_rule(nursery: trio.Nursery, autojump_clock: MockClock, target: str) -> None:
    _, stream, seen = await entering(
        nursery, Route("all", BY_WEB), Route("narrow", (Caller("root"),), matches=(Match(PathMatch("/secret")),)),
    )
    answer = await ask(stream, target, end=b"\n")
    assert answer.startswith(("HTTP/1.1 403", "HTTP/1.1 400"))
    assert seen == []
    stream.close()


async def test_rules_answer_by_themselves(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, seen = await entering(
        nursery,
        Route("moved", BY_WEB, matches=(Match(PathMatch("/old")),), redirect=Redirect(prefix="/new", status=308)),
        Route("closed", BY_WEB, direct_response=DirectResponse(404, "gone fishing")),
    )
    assert await ask(stream, "/old/x?y", end=b"\r\n\r\n") == (
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: /new/x?y\r\ncontent-length: 0\r\n\r\n"
    )
    assert await ask(stream, "/", end=b"fishing") == (
        "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 12\r\n\r\ngone fishing"
    )
    await stream.send_all(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert await read_until(stream, b"content-length: 12\r\n\r\n")
    assert seen == []
    stream.close()
    await wait_all_tasks_blocked()
    assert told(known, "rule", "status", "code") == [["moved", 308, ""], ["closed", 404, ""], ["closed", 404, ""]]


async def test_faults(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, seen = await entering(
        nursery,
        Route("slow", BY_WEB, matches=(Match(PathMatch("/slow")),), fault=Fault(2.5)),
        Route("broken", BY_WEB, fault=Fault(1.0, abort_status=418)),
    )
    started = trio.current_time()
    await ask(stream, "/slow")
    assert trio.current_time() - started == 2.5
    answer = await ask(stream, "/", end=b"over.\n")
    assert trio.current_time() - started == 3.5
    assert answer.startswith("HTTP/1.1 418 ")
    assert len(seen) == 1
    stream.close()
    await wait_all_tasks_blocked()
    assert told(known, "rule", "status", "code") == [["slow", 200, ""], ["broken", 418, "BZ0111"]]


async def test_concurrency_counts_until_the_end_of_the_exchange(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, _ = await entering(nursery, Route("r", BY_WEB, concurrency=1))
    waiting = trio.Event()

    async def slow(sock: socket.socket) -> None:
        app = SocketStream(sock)
        await app.receive_some()
        await waiting.wait()
        await app.send_all(OK)
        await trio.sleep_forever()

    known.dialer.servers[APP] = slow
    await stream.send_all(GET)
    await wait_all_tasks_blocked()
    other = await call(arrive(nursery, known))
    assert (await ask(other, end=b"\n")).startswith("HTTP/1.1 503 ")
    waiting.set()
    await read_until(stream, b"ok")
    await wait_all_tasks_blocked()
    assert not known.runtime.admission.under_way
    for end in (stream, other):
        end.close()


@pytest.mark.parametrize("chunks", [[b"5\r\nabcXY\r\n0\r\n\r\n"], [b"3\r\nabc\r\n", b"2\r\nXY\r\n", b"0\r\n\r\n"]])
async def test_a_body_without_a_length_has_its_limit_too(
    chunks: list[bytes], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The application gets no end of it, and so takes it for none."""
    known, stream, _ = await entering(nursery, Route("r", BY_WEB, max_body_bytes=4))
    arrived: list[bytes] = []

    async def serve(sock: socket.socket) -> None:
        while piece := await SocketStream(sock).receive_some():
            arrived.append(piece)

    known.dialer.servers[APP] = serve
    await stream.send_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    for chunk in chunks:
        await stream.send_all(chunk)
        await wait_all_tasks_blocked()
    assert (await read_rest(stream)).startswith(b"HTTP/1.1 413 ")
    assert known.codes == ["BZ0108"]
    assert b"XY" not in b"".join(arrived)
    assert not b"".join(arrived).endswith(b"0\r\n\r\n")
    stream.close()


async def test_a_place_is_given_back_whoever_breaks_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, _ = await entering(nursery, Route("r", BY_WEB, concurrency=1))
    del known.dialer.servers[APP]
    assert (await ask(stream, end=b"\n")).startswith("HTTP/1.1 503 ")
    known.dialer.silent.add(APP)
    await stream.send_all(GET)
    await wait_all_tasks_blocked()
    assert known.runtime.admission.under_way == {"r": 1}
    assert (await read_until(stream, b"\n")).startswith(b"HTTP/1.1 50")
    assert not known.runtime.admission.under_way
    stream.close()


async def test_tokens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, stream, seen = await entering(nursery, WITH_TOKEN, issuers=(TokenIssuer(ISSUER, JWKS.decode()),))

    def bearer(**changed: object) -> str:
        claims = {"iss": ISSUER, "aud": "shop", "exp": known.wall + 600, "groups": ["admins"], **changed}
        return f"authorization: Bearer {token(claims)}"

    good = bearer()
    assert (await ask(stream, "/", good)).startswith("HTTP/1.1 200")
    assert good.encode() in seen[0]     # the application may want to read it too
    for field, why in (
        ("x: y", "there is none"), (bearer(aud="web"), "audience"), (bearer(exp=known.wall - 61), "expired"), (good + "x", "the token: "),
    ):
        answer = await ask(stream, "/", field, end=b"this one.\n")
        assert answer.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "\r\nwww-authenticate: Bearer\r\n" in answer
        assert why in answer
    assert (await ask(stream, "/", bearer(groups=["users"]), end=b"\n")).startswith("HTTP/1.1 403")
    known.wall += 700
    assert (await ask(stream, "/", good, end=b"\n")).startswith("HTTP/1.1 401")     # remembered, and ended all the same
    assert len(seen) == 1
    stream.close()


async def test_plaintext_is_let_in_by_its_source(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for source, status in ((f"{CLIENT}/32", b"200"), ("10.2.0.0/16", b"403")):
        inbound = Inbound("permissive", 4e9, (Route("r", (*BY_WEB, Caller(source=source))),))
        known = meshed(nursery, of_orders(inbound))
        known.dialer.servers[APP] = http_app([], OK)
        stream = SocketStream(arrive(nursery, known))
        await stream.send_all(GET)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 " + status)
        stream.close()


# -- NetworkPolicies

ANYBODY = Route("r", (Caller(),))


@pytest.mark.parametrize(("listed", "port", "is_let"), [
    ((FROM_WEB,), None, True),
    ((FROM_WEB,), APP.port, True),
    ((FROM_WEB,), 9090, False),
    ((Endpoint(CLIENT, APP.port, ORDERS),), None, False),       # that pod's service account is another
    ((Endpoint(CLIENT, APP.port, ""),), None, False),           # that pod has no sidecar
    ((Endpoint("10.1.0.99", APP.port, WEB),), None, False),     # another pod of the same service account
    (("10.1.0.0/24",), None, True),
    ((f"10.1.0.0/24!{CLIENT}/32",), None, False),
    ((), None, False),
])
async def test_who_is_listed_may_ask(
    listed: tuple[Endpoint | str, ...], port: int | None, is_let: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = meshed(nursery, network.entering(of_orders(Inbound(routes=(ANYBODY,))), *listed, port=port))
    known.dialer.servers[APP] = http_app([], OK)
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    answer = await stream.receive_some()
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines
    if is_let:
        assert answer == OK
        assert line["rule"] == "r"
        return
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"x-bartizan-reason: BZ0112 network-policy\r\n" in answer
    assert (line["code"], line["rule"], line["peer"]) == ("BZ0112", NAMED, WEB)
    assert POLICY in line["detail"]
    assert any(NAMED in entry.rules for entry in known.ledger.entries)
    assert known.dialer.dialled == []


@pytest.mark.parametrize(("listed", "is_let"), [
    ((Endpoint(CLIENT, APP.port, ""),), True), ((f"{CLIENT}/32",), True),
    ((FROM_WEB,), False),       # it is a pod with a sidecar: its address alone is nothing
    ((), False),
])
@pytest.mark.parametrize("is_opaque", [False, True])
async def test_plaintext_is_judged_by_its_address(
    listed: tuple[Endpoint | str, ...], is_let: bool, is_opaque: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    inbound = replace(PERMISSIVE, routes=(ANYBODY,), ports=OPAQUE if is_opaque else {})
    known = meshed(nursery, network.entering(of_orders(inbound), *listed))
    known.dialer.servers[APP] = echo if is_opaque else http_app([], OK)
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(GET)
    answer = await stream.receive_some()
    stream.close()
    await wait_all_tasks_blocked()
    assert (answer in (GET, OK)) is is_let
    assert known.codes == ([""] if is_let else ["BZ0112"])
    if not is_let:
        assert known.lines[0]["rule"] == NAMED
        assert POLICY.encode() not in answer        # a stranger learns no names


async def test_a_policy_does_not_let_plaintext_into_a_strict_port(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, network.entering(of_orders(Inbound()), "0.0.0.0/0"))
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(GET)
    assert b"BZ0103" in await read_rest(stream)
    stream.close()


async def test_each_request_is_judged_by_the_policies_of_now(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, network.entering(of_orders(Inbound()), FROM_WEB))
    known.dialer.servers[APP] = http_app([], OK)
    stream = await call(arrive(nursery, known))
    await stream.send_all(GET)
    assert await stream.receive_some() == OK
    known.runtime.rules.set(network.entering(of_orders(Inbound())))
    await stream.send_all(GET)
    assert b"BZ0112" in await stream.receive_some()
    stream.close()
