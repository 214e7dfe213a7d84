"""TCP to names by their synthetic addresses: which name is meant, what is dialled, that TLS is verified, and when it ends."""

import socket
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import ClientCertificate, EgressHost, EgressRange, Origination, Outbound
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from tests.helpers import pki
from tests.helpers.exchange import GET
from tests.helpers.leave import Pod, https, partner, pod
from tests.helpers.mesh import echo, http_app, is_gone, read_rest, read_until, root
from tests.helpers.network import NAMED, leaving
from tests.helpers.runtime import Serve, rules

DB = "db.partner.example"
SERVER = Address("203.0.113.80", 5432)
ROOTS = pki.pem([root("public").certificate])


def approved(tls: Origination | None = Origination(roots=ROOTS), **changed: Any) -> Rules:  # noqa: B008 -- frozen
    host = EgressHost(DB, "partners/db", **{"plain_ports": (), "tls_ports": (), "tcp_ports": (SERVER.port,), "tls": tls} | changed)
    return rules(outbound=Outbound(hosts=(host,), resolvers=("10.96.0.10",), cluster_ranges=("192.0.2.0/24",)))


def outside(nursery: trio.Nursery, known: Rules, serve: Serve) -> tuple[Pod, Address]:
    """A pod whose application has asked for the name, the host, and what the application was told."""
    web = pod(nursery, known)
    web.resolver.names[DB] = (SERVER.host,)
    web.bench.dialer.servers[SERVER] = serve
    address = web.bench.runtime.synthetic.address(DB)
    assert address is not None
    return web, Address(address, SERVER.port)


async def test_tls_from_the_first_byte(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    connections: list[TlsStream] = []
    web, to = outside(nursery, approved(), https(partner(DB), echo, seen=connections))
    app = web.dial(to)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    await app.send_eof()
    assert await read_rest(app) == b""
    await wait_all_tasks_blocked()
    assert web.bench.dialer.dialled == [SERVER]
    assert connections[0].connection.get_servername() == DB.encode()
    assert connections[0].connection.get_alpn_proto_negotiated() == b""
    (line,) = web.bench.lines
    told = [line[name] for name in ("security", "tls", "host", "rule", "upstream", "dst", "received", "sent")]
    assert told == ["tls", "TLSv1.3", DB, "partners/db", f"{DB}:5432", str(to), 4, 4]
    (entry,) = web.bench.ledger.entries
    assert (entry.host, entry.security, entry.rules) == (DB, "tls", {"partners/db": 1})
    assert line["connection"] == entry.id


async def test_no_protocol_of_http_is_offered(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server of something else may refuse one that it does not know (RFC 7301 s3.2)."""
    heard: list[bytes] = []

    async def listen(sock: socket.socket) -> None:
        heard.append(await SocketStream(sock).receive_some())

    web, to = outside(nursery, approved(), listen)
    assert await is_gone(web.dial(to))
    assert heard[0][:2] == b"\x16\x03"
    assert b"http/1.1" not in heard[0]


async def test_as_the_application_speaks_where_a_policy_says_so(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def greet(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"220 hello")
        await echo(sock)

    web, to = outside(nursery, approved(None), greet)
    app = web.dial(to)
    assert await read_until(app, b"hello") == b"220 hello"
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    app.close()
    await wait_all_tasks_blocked()
    assert [web.bench.lines[0][name] for name in ("security", "host", "rule")] == ["passthrough", DB, "partners/db"]


@pytest.mark.parametrize("holder", [
    partner("other.example"), partner(DB, authority="stranger"), partner(SERVER.host), pki.issue(root("public"), subject=DB),
    pki.issue(root("public"), pki.host(DB), ends=-pki.HOUR / 2),
], ids=["name", "authority", "address", "cn-only", "expired"])
async def test_who_does_not_prove_the_name_gets_nothing(holder: pki.Holder, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []

    async def listen(sock: socket.socket) -> None:
        heard.append(await read_rest(SocketStream(sock)))

    web, to = outside(nursery, approved(), https(holder, listen))
    app = web.dial(to)
    await app.send_all(b"secret")
    assert await is_gone(app)
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0206"]
    assert b"".join(heard) == b""


async def test_never_plaintext_instead(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []

    async def plain(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        heard.append(await stream.receive_some())
        await stream.send_all(b"-ERR\r\n")

    web, to = outside(nursery, approved(), plain)
    app = web.dial(to)
    await app.send_all(b"secret")
    assert await is_gone(app)
    assert heard[0][:2] == b"\x16\x03"
    assert b"secret" not in b"".join(heard)


@pytest.mark.parametrize("changed", [
    {"roots": "no PEM"}, {"client_certificate": ClientCertificate("s")}, {"client_certificate": ClientCertificate("s", "no PEM", "no PEM")},
])
async def test_material_that_is_unusable_dials_nobody(changed: dict[str, Any], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = outside(nursery, approved(Origination(**{"roots": ROOTS} | changed)), https(partner(DB), echo))
    assert await is_gone(web.dial(to))
    assert web.bench.codes in (["BZ0203"], ["BZ0205"])
    assert web.bench.dialer.dialled == []


# -- which name


async def test_only_on_the_ports_that_were_approved(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = outside(nursery, approved(), https(partner(DB), echo))
    for port in (80, 443, 5433):
        assert await is_gone(web.dial(Address(to.host, port)), b"\x00\x01")
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0201"] * 3
    assert "not TCP to port 5433" in web.bench.lines[-1]["detail"]
    assert web.bench.dialer.dialled == web.resolver.asked == []


async def test_a_synthetic_address_of_nobodys(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, _ = outside(nursery, approved(), https(partner(DB), echo))
    assert await is_gone(web.dial(Address("240.0.99.99", SERVER.port)), b"\x00\x01")
    assert web.bench.codes == ["BZ0202"]
    assert web.bench.dialer.dialled == []


async def test_a_synthetic_address_is_in_no_range_that_does_not_mean_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = outside(nursery, rules(outbound=Outbound(ranges=(EgressRange("0.0.0.0/0", "world"),))), echo)
    assert await is_gone(web.dial(to), b"\x00\x01")
    assert await is_gone(web.dial(Address("240.0.99.99", SERVER.port)), b"\x00\x01")
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0201", "BZ0202"]
    assert web.bench.dialer.dialled == []


async def test_what_says_its_name_itself_goes_by_that(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A name may be approved for TCP at one port and for plain HTTP at another; it has one address."""
    web, to = outside(nursery, approved(plain_ports=(80,)), https(partner(DB), echo))
    web.bench.dialer.servers[Address(SERVER.host, 443)] = https(partner(DB), http_app([], b"HTTP/1.1 204 Yes\r\n\r\n"))
    app = web.dial(Address(to.host, 80))
    await app.send_all(f"GET / HTTP/1.1\r\nhost: {DB}\r\n\r\n".encode())
    assert b" 204 " in await app.receive_some()
    # And Host decides, whosever the address is.
    await app.send_all(b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n")
    assert b"BZ0201" in await app.receive_some()


async def test_a_refused_connection_that_speaks_http_hears_why(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = outside(nursery, approved(), https(partner(DB), echo))
    app = web.dial(Address(to.host, 80))
    await app.send_all(GET)
    assert b"BZ0201 host-not-approved" in await read_rest(app)


@pytest.mark.parametrize(("found", "code"), [(("169.254.169.254",), "BZ0204"), (("192.0.2.9",), "BZ0204"), ((), "BZ0406")])
async def test_a_name_that_leads_where_it_must_not(
    found: tuple[str, ...], code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web, to = outside(nursery, approved(), https(partner(DB), echo))
    web.resolver.names[DB] = found
    assert await is_gone(web.dial(to))
    await wait_all_tasks_blocked()
    assert web.bench.codes == [code]
    assert web.bench.dialer.dialled == []


# -- how it ends


@pytest.mark.parametrize("tls", [None, Origination(roots=ROOTS)])
async def test_a_budget_that_is_exhausted(tls: Origination | None, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = outside(nursery, approved(tls, bytes_per_hour=1000), echo if tls is None else https(partner(DB), echo))
    app = web.dial(to)
    await app.send_all(b"x" * 1001)
    with suppress(trio.BrokenResourceError):
        await read_rest(app)
    assert await is_gone(web.dial(to))
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0209", "BZ0209"]
    assert web.bench.dialer.dialled == [SERVER]


async def test_it_ends_with_the_approval(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = outside(nursery, approved(), https(partner(DB), echo))
    app = web.dial(to)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    web.bench.runtime.rules.set(approved())     # an equal one cuts nothing
    await app.send_all(b"pong")
    await read_until(app, b"pong")
    web.bench.runtime.rules.set(rules())
    assert await is_gone(app)
    await wait_all_tasks_blocked()
    assert trio.current_time() == 0
    assert web.bench.lines[0]["detail"] == "no longer permitted"


async def test_an_approval_that_ends_meanwhile_connects_nobody(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []

    async def listen(sock: socket.socket) -> None:
        heard.append(await read_rest(SocketStream(sock)))

    async def late(sock: socket.socket) -> None:
        web.bench.runtime.rules.set(rules())
        await https(partner(DB), listen)(sock)

    web, to = outside(nursery, approved(), late)
    app = web.dial(to)
    await app.send_all(b"secret")
    assert await is_gone(app)
    await wait_all_tasks_blocked()
    assert web.bench.lines[0]["detail"] == "no longer permitted"
    assert b"".join(heard) == b""
    assert web.bench.runtime.accounts._live == {}


@pytest.mark.parametrize("tls", [None, Origination(roots=ROOTS)])
async def test_a_host_that_is_silent(tls: Origination | None, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def silent(sock: socket.socket) -> None:
        await trio.sleep_forever()

    web, to = outside(nursery, approved(tls), silent)
    if tls is None:
        web.bench.dialer.silent.add(SERVER)
    assert await is_gone(web.dial(to))
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0401" if tls is None else "BZ0402"]


@pytest.mark.parametrize("changed", [
    Origination(roots=ROOTS, key_pins=(f"sha256/{'A' * 43}=",)), Origination(roots=ROOTS, min_version="1.3"), Origination(),
    Origination(roots=ROOTS, subject_alt_names=("other.example",)),
], ids=["pins", "version", "roots", "names"])
async def test_it_ends_where_more_is_to_be_proved(changed: Origination, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = outside(nursery, approved(), https(partner(DB), echo))
    app = web.dial(to)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    web.bench.runtime.rules.set(approved(changed))
    assert await is_gone(app)
    await wait_all_tasks_blocked()
    assert trio.current_time() == 0
    assert web.bench.lines[0]["detail"] == "no longer permitted"


@pytest.mark.parametrize("changed", [approved(), approved(None, bytes_per_hour=1000)], ids=["TLS", "a budget"])
async def test_plaintext_ends_where_more_is_asked(changed: Rules, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = outside(nursery, approved(None), echo)
    app = web.dial(to)
    await app.send_all(b"ping")
    await read_until(app, b"ping")
    web.bench.runtime.rules.set(changed)
    assert await is_gone(app)
    assert trio.current_time() == 0


# -- NetworkPolicies


@pytest.mark.parametrize("tls", [Origination(roots=ROOTS), None])
async def test_a_policy_judges_the_address_behind_the_name(
    tls: Origination | None, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    serve = https(partner(DB), echo) if tls is not None else echo
    web, to = outside(nursery, leaving(approved(tls), f"{SERVER.host}/32", port=SERVER.port), serve)
    app = web.dial(to)
    await app.send_all(b"ping")
    assert await read_until(app, b"ping") == b"ping"
    web.bench.runtime.rules.set(leaving(approved(tls), f"{to.host}/32"))
    assert await is_gone(app)
    await wait_all_tasks_blocked()
    assert web.bench.lines[0]["detail"] == "no longer permitted"        # cut, and no end that one could take for the host's
    assert await is_gone(web.dial(to), b"ping")
    await wait_all_tasks_blocked()
    assert [line.get("code", "") for line in web.bench.lines] == ["", "BZ0216"]
    assert web.bench.lines[1]["rule"] == NAMED
    assert web.bench.dialer.dialled == [SERVER]
