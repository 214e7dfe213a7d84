"""What may leave by a gateway only: it arrives there with its destination, and where there is no way it goes nowhere."""

import socket

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import EgressHost
from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.model.reason import Reason
from sidecar.model.service import Endpoint
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_EGRESS
from sidecar.net.tls_stream import TlsStream
from sidecar.protocol.gateway_preface import Preface, read_preface, render_refusal
from tests.helpers.exchange import OK
from tests.helpers.gateway import (
    APPROVED,
    AT,
    GATEWAY,
    HOST,
    REF,
    SERVER,
    Gateway,
    behind,
    caller_rules,
    gateway,
    gateway_rules,
)
from tests.helpers.h2_peer import Peer
from tests.helpers.leave import Pod, https, own_tls, partner, pod
from tests.helpers.mesh import echo, http_app, is_gone, read_rest, read_until, tls_of
from tests.helpers.network import NAMED, leaving
from tests.helpers.runtime import Serve
from tests.helpers.services import hang
from tests.proxy.test_egress import ask

DIALLED = Address("203.0.113.1", 80)
VIP = Address("10.96.0.40", REF.port)
DATABASE = Address("198.51.100.7", 5432)


def reached(nursery: trio.Nursery, seen: list[bytes] | None = None) -> tuple[Pod, Gateway]:
    out = gateway(nursery)
    out.bench.dialer.servers[SERVER] = https(partner(HOST), http_app([] if seen is None else seen, OK))
    return behind(nursery, out), out


async def test_plain_http_goes_by_the_gateway(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    web, out = reached(nursery, seen)
    app = web.dial(DIALLED)
    for _ in range(3):
        assert await ask(app, HOST, "/a", "x-request-id: mine", "baggage: user=7") == OK
    assert seen == [f"GET /a HTTP/1.1\r\nhost: {HOST}".encode()] * 3       # neither our ID nor the application's words leave
    assert web.bench.dialer.dialled == [AT]         # one connection for all, and nowhere else
    assert web.resolver.asked == []                 # nothing is resolved here
    assert out.bench.dialer.dialled == [SERVER]
    app.close()
    await wait_all_tasks_blocked()
    line, theirs = web.bench.lines[0], out.bench.lines[0]
    told = [line[name] for name in ("security", "peer", "host", "rule", "status", "dst")]
    assert told == ["mtls", GATEWAY, HOST, "partners/api", 200, str(DIALLED)]
    assert line["request_id"] == theirs["request_id"] == "mine"


async def test_http2_goes_by_the_gateway(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    web, out = reached(nursery, seen)
    client = Peer(web.dial(DIALLED), is_client=True)
    await client.begin()
    for stream in (1, 3):
        await client.ask(stream, [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", HOST.encode()), (b":path", b"/a")])
        await client.ended(stream)
    assert seen == [f"GET /a HTTP/1.1\r\nhost: {HOST}".encode()] * 2
    assert web.bench.dialer.dialled == [AT]
    assert out.bench.dialer.dialled == [SERVER]


async def test_tls_of_the_applications_own_goes_by_the_gateway(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, out = reached(nursery)
    out.bench.dialer.servers[SERVER] = https(partner(HOST), echo)
    stream = await own_tls(web.dial(Address("203.0.113.1", 443)))
    await stream.send_all(b"ping")
    assert await read_until(stream, b"ping") == b"ping"
    assert (web.bench.dialer.dialled, web.resolver.asked, out.bench.dialer.dialled) == ([AT], [], [SERVER])
    web.bench.runtime.rules.set(caller_rules(replace(APPROVED, tls_ports=())))      # withdrawn here, whatever the gateway knows
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    (line,) = web.bench.lines
    assert [line[name] for name in ("security", "peer", "host", "rule", "detail")] == [
        "mtls", GATEWAY, HOST, "partners/api", "no longer permitted"]


async def test_a_range_goes_by_the_gateway(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, out = reached(nursery)

    async def greets(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"220 ready\r\n")     # the server speaks first
        await echo(sock)

    out.bench.dialer.servers[DATABASE] = greets
    app = web.dial(DATABASE)
    assert await read_until(app, b"\r\n") == b"220 ready\r\n"
    await app.send_all(b"\x00ping")
    assert await read_until(app, b"ping") == b"\x00ping"
    await app.send_eof()
    assert await read_rest(app) == b""
    await wait_all_tasks_blocked()
    assert (web.bench.dialer.dialled, out.bench.dialer.dialled) == ([AT], [DATABASE])
    (line,) = web.bench.lines
    assert [line[name] for name in ("rule", "received", "sent")] == ["partners/range", 5, 16]


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/b", "BZ0210"), ("POST", "/a", "BZ0210"), ("GET", "/a", "")])
async def test_the_request_is_judged_before_it_goes_there(
    method: str, path: str, code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web, _ = reached(nursery)
    web.bench.runtime.rules.set(caller_rules(replace(APPROVED, methods=("GET",), paths=("/a",))))
    app = web.dial(DIALLED)
    await app.send_all(f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\n\r\n".encode())
    answer = await app.receive_some()
    assert code.encode() in answer
    assert web.bench.dialer.dialled == ([] if code else [AT])


# -- no way there


async def plays_dead(sock: socket.socket) -> None:
    await trio.sleep_forever()


async def hangs_up(sock: socket.socket) -> None:
    pass


def answers(answer: bytes) -> Serve:
    """A gateway with the right certificate that says `answer` to whatever it is asked."""
    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(tls_of(GATEWAY).gateway, sock, is_server=True)
        await stream.handshake(NotVerified)
        assert isinstance(read_preface(await stream.receive_some()), Preface)
        try:
            await stream.send_all(answer)
            await stream.send_eof()
            await stream.receive_some()
        except trio.BrokenResourceError:
            pass    # it was believed nothing
        finally:
            stream.close()

    return serve


def impostor(identity: str, authority: str = "root", alpn: bytes = ALPN_EGRESS) -> Serve:
    async def serve(sock: socket.socket) -> None:
        tls = tls_of(identity, authority)
        stream = TlsStream(tls.gateway if alpn == ALPN_EGRESS else tls.server, sock, is_server=True)
        try:
            await stream.handshake(NotVerified)
            assert await stream.receive_some() == b""
        except (NotVerified, TlsRejected, trio.BrokenResourceError):
            pass
        finally:
            stream.close()

    return serve


NO_WAY = [
    (None, "BZ0214"), (plays_dead, "BZ0214"), (hangs_up, "BZ0214"), (answers(b""), "BZ0214"), (answers(b"yes\n"), "BZ0214"),
    (answers(b"no BZ9999 later\n"), "BZ0214"), (answers(b"no " + b"x" * 500), "BZ0214"), (answers(b"o"), "BZ0214"),
    (answers(render_refusal(Reason.SPECIAL_ADDRESS, "10.0.0.1")), "BZ0204"),
    (impostor(f"{GATEWAY}-2"), "BZ0502"), (impostor(GATEWAY, "stranger"), "BZ0214"), (impostor(GATEWAY, alpn=b"bartizan/h1"), "BZ0214"),
]


@pytest.mark.parametrize(("serve", "code"), NO_WAY)
async def test_without_the_gateway_nothing_leaves(
    serve: Serve | None, code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Neither requests nor TLS nor TCP: 503 with the reason, and the one address that is dialled is the gateway's."""
    web = pod(nursery, caller_rules())
    web.resolver.names[HOST] = (SERVER.host,)
    for outside in (SERVER, Address(SERVER.host, 80), DATABASE):
        web.bench.dialer.servers[outside] = https(partner(HOST), http_app([], OK))
    if serve is not None:
        web.bench.dialer.servers[AT] = serve
    answer = await ask(web.dial(DIALLED))
    assert f"x-bartizan-reason: {code}".encode() in answer
    with pytest.raises(NotVerified):
        await own_tls(web.dial(Address("203.0.113.1", 443)))
    assert await is_gone(web.dial(DATABASE), b"\x00ping")
    await wait_all_tasks_blocked()
    assert web.bench.codes == [code] * 3
    assert set(web.bench.dialer.dialled) == {AT}
    assert web.resolver.asked == []
    assert len(web.bench.runtime.pool) == 0
    groups = web.bench.runtime.endpoints._groups.values()
    assert [group.in_flight for group in groups] == [0]


@pytest.mark.parametrize("known", [
    caller_rules(endpoints=()), caller_rules(endpoints=(Endpoint("10.1.0.5", AT.port, GATEWAY),)),
], ids=["no endpoint", "itself"])
async def test_a_gateway_without_endpoints(known: object, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, known)  # type: ignore[arg-type]
    assert b"BZ0214 gateway-unreached" in await ask(web.dial(DIALLED))
    assert await is_gone(web.dial(DATABASE), b"\x00")
    assert web.bench.codes == ["BZ0214"] * 2
    assert web.bench.dialer.dialled == []


async def test_a_gateway_that_nobody_knows(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = caller_rules()
    web = pod(nursery, known.of(replace(known.snapshot, outbound=replace(known.snapshot.outbound, services=())), "digest"))
    assert b"BZ0214 gateway-unreached" in await ask(web.dial(DIALLED))
    assert await is_gone(web.dial(DATABASE), b"\x00")
    assert web.bench.codes == ["BZ0214"] * 2


async def test_the_next_gateway_is_tried(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, _ = reached(nursery)
    other = Endpoint("10.1.0.41", AT.port, GATEWAY)
    web.bench.runtime.rules.set(caller_rules(endpoints=(other, Endpoint(AT.host, AT.port, GATEWAY))))
    for _ in range(4):
        app = web.dial(DIALLED)
        assert await ask(app) == OK
        app.close()
    assert set(web.bench.dialer.dialled) <= {AT, Address(other.address, other.port)}


async def test_what_the_gateway_says_of_a_request_is_passed_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, out = reached(nursery)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    out.resolver.names[HOST] = ("169.254.169.254",)
    answer = await ask(app)
    assert b"BZ0204 special-address" in answer
    await wait_all_tasks_blocked()
    assert [line.get("code", "") for line in web.bench.lines] == ["", "BZ0204"]


async def test_a_policy_that_comes_to_demand_the_gateway_ends_what_goes_without(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    direct = caller_rules()
    direct = direct.of(replace(direct.snapshot, outbound=replace(
        direct.snapshot.outbound, hosts=(APPROVED,), ranges=(replace(direct.snapshot.outbound.ranges[0], gateway=None),))), "digest")
    web, _ = reached(nursery)
    web.bench.runtime.rules.set(direct)
    web.resolver.names[HOST] = (SERVER.host,)
    web.bench.dialer.servers |= {SERVER: https(partner(HOST), http_app([], OK)), DATABASE: echo}
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    raw, tls = web.dial(DATABASE), await own_tls(web.dial(Address("203.0.113.1", 443)))
    await raw.send_all(b"ping")
    await read_until(raw, b"ping")
    assert web.bench.dialer.dialled == [SERVER, DATABASE, SERVER]
    assert len(web.bench.runtime.pool) == 1
    web.bench.runtime.rules.set(caller_rules())
    web.bench.runtime.withdrawals.part()
    assert await is_gone(raw)
    assert await is_gone(tls)
    web.bench.runtime.pool.expire()
    assert len(web.bench.runtime.pool) == 0
    assert trio.current_time() == 0
    assert await ask(app) == OK
    assert web.bench.dialer.dialled == [SERVER, DATABASE, SERVER, AT]


async def test_an_application_does_not_call_the_gateway_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its sidecar would speak for it as for any call of the mesh, unjudged: two pods of one identity may have different approvals."""
    web, out = reached(nursery)
    web.bench.runtime.rules.set(caller_rules(EgressHost("other.example", "o")))
    app = web.dial(VIP)
    await app.send_all(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    assert b" 503 " in await app.receive_some()
    assert await is_gone(web.dial(AT), f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await wait_all_tasks_blocked()
    assert web.bench.codes[-1] == "BZ0105"
    assert out.bench.dialer.dialled == []


async def test_a_range_without_its_gateways_leave(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    out = gateway(nursery, gateway_rules())
    web = behind(nursery, out, caller_rules(ranges=(replace(caller_rules().snapshot.outbound.ranges[0], cidr="0.0.0.0/0", ports=()),)))
    assert await is_gone(web.dial(Address("192.0.2.1", 5432)), b"\x00")
    assert await is_gone(web.dial(Address("198.51.100.9", 22)), b"\x00")
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0202", "BZ0202"]
    assert out.bench.dialer.dialled == []


async def test_a_request_under_way_ends_when_it_is_withdrawn_here(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, out = reached(nursery)

    async def slow(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await trio.sleep_forever()

    out.bench.dialer.servers[SERVER] = https(partner(HOST), slow)
    app = web.dial(DIALLED)
    assert (await ask(app)).endswith(b"half")
    web.bench.runtime.rules.set(caller_rules(EgressHost("other.example", "o")))
    web.bench.runtime.withdrawals.part()
    assert await is_gone(app)
    assert trio.current_time() == 0


async def test_a_gateway_that_is_one_no_longer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, out = reached(nursery)
    out.bench.dialer.servers[DATABASE] = echo
    raw = web.dial(DATABASE)
    await raw.send_all(b"ping")
    await read_until(raw, b"ping")
    web.bench.runtime.rules.set(caller_rules(endpoints=(Endpoint("10.1.0.41", AT.port, GATEWAY),)))
    assert await is_gone(raw)
    assert trio.current_time() == 0


async def test_what_a_server_says_first_comes_right_behind_the_leave(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = pod(nursery, caller_rules())
    web.bench.dialer.servers[AT] = answers(b"ok\n220 ready\r\n")
    assert await read_until(web.dial(DATABASE), b"\r\n") == b"220 ready\r\n"


async def test_what_goes_by_the_gateway_counts(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, out = reached(nursery)
    known = caller_rules().snapshot.outbound
    web.bench.runtime.rules.set(caller_rules(
        replace(APPROVED, bytes_per_hour=150), ranges=(replace(known.ranges[0], bytes_per_hour=100),)))
    out.bench.dialer.servers[DATABASE] = echo
    app = web.dial(DIALLED)
    answers = [b"BZ0209" in await ask(app) for _ in range(4)]
    assert answers == sorted(answers)
    assert (answers[0], answers[-1]) == (False, True)
    raw = web.dial(DATABASE)
    await raw.send_all(b"x" * 101)
    await is_gone(raw)
    assert await is_gone(web.dial(DATABASE), b"x")
    await wait_all_tasks_blocked()
    assert web.bench.codes[-2:] == ["BZ0209"] * 2


# -- NetworkPolicies

GATE = Endpoint(AT.host, AT.port, GATEWAY)


@pytest.mark.parametrize(("listed", "is_let"), [
    ((GATE,), True),                            # the gateway's pod at its own port is what is connected to,
    (("203.0.113.0/24", "198.51.100.0/24", f"{VIP.host}/32"), False),       # neither the host nor the Service's address
])
async def test_a_policy_judges_the_gateways_pod(
    listed: tuple[Endpoint | str, ...], is_let: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web, out = reached(nursery)
    out.bench.dialer.servers[DATABASE] = echo
    web.bench.runtime.rules.set(leaving(caller_rules(), *listed))
    answer = await ask(web.dial(DIALLED))
    app = web.dial(DATABASE)
    if is_let:
        assert answer == OK
        await app.send_all(b"ping")
        assert await read_until(app, b"ping") == b"ping"
        web.bench.runtime.rules.set(leaving(caller_rules(), "203.0.113.0/24", "198.51.100.0/24"))
        assert await is_gone(app)
        assert trio.current_time() == 0
        return
    assert b"BZ0216" in answer
    assert await is_gone(app, b"ping")
    assert [(line["code"], line["rule"]) for line in web.bench.lines] == [("BZ0216", NAMED)] * 2
    assert web.bench.dialer.dialled == []


async def test_a_request_under_way_ends_when_no_policy_lists_the_gateway_any_more(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web, out = reached(nursery)
    out.bench.dialer.servers[SERVER] = https(partner(HOST), hang)
    app = web.dial(DIALLED)
    await app.send_all(f"GET /a HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await wait_all_tasks_blocked()
    web.bench.runtime.rules.set(leaving(caller_rules(), "203.0.113.0/24"))
    web.bench.runtime.withdrawals.part()
    assert b"BZ0403" in await app.receive_some()
    assert trio.current_time() == 0
