"""External hosts: which name decides, where the bytes go, and that nothing is sent to anybody who has not proved it."""

import re
import socket
from typing import Any

import dns.message
import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import Alias, ClientCertificate, DnsLimits, EgressHost, Origination, Outbound
from sidecar.model.errors import NotVerified
from sidecar.net.race import STAGGER_S
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify_host import verify_host
from sidecar.policy.rules import Rules
from tests.helpers import pki
from tests.helpers.exchange import GET, OK
from tests.helpers.leave import Pod, https, own_tls, partner, pod, tls_that
from tests.helpers.mesh import echo, http_app, is_gone, read_rest, read_until, root
from tests.helpers.network import NAMED, leaving
from tests.helpers.runtime import rules
from tests.helpers.tls13 import client_hello

HOST = "api.partner.example"
SERVER = Address("203.0.113.80", 443)
EVIL = Address("198.51.100.66", 443)
DIALLED = Address("203.0.113.1", 80)      # what the application dialled; decides nothing
ROOTS = pki.pem([root("public").certificate])


def approved(*more: EgressHost, host: str = HOST, **changed: Any) -> Rules:
    of_tls = {"roots": ROOTS} | {name: changed.pop(name) for name in list(changed) if name in Origination.__struct_fields__}
    tls = Origination(**of_tls)
    hosts = (EgressHost(host, "partners/api", tls=tls, **changed), *more)
    return rules(outbound=Outbound(hosts=hosts, resolvers=("10.96.0.10",), cluster_ranges=("192.0.2.0/24",)))


def outside(nursery: trio.Nursery, known: Rules | None = None, *, seen: list[bytes] | None = None, **server: Any) -> Pod:
    """A pod to which the host is approved, and the host itself."""
    web = pod(nursery, known or approved())
    web.resolver.names[HOST] = (SERVER.host,)
    holder = server.pop("holder", None) or partner(HOST)
    web.bench.dialer.servers[SERVER] = https(holder, http_app([] if seen is None else seen, server.pop("answer", OK)), **server)
    return web


async def ask(app: SocketStream, host: str = HOST, path: str = "/a", *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"host: {host}", *fields]
    await app.send_all(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    return await app.receive_some()


# -- origination


async def test_plain_http_becomes_verified_tls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    connections: list[TlsStream] = []
    web = pod(nursery, approved())
    web.resolver.names[HOST] = (SERVER.host,)
    web.bench.dialer.servers[SERVER] = https(partner(HOST), http_app(seen, OK), seen=connections)
    app = web.dial(DIALLED)
    for _ in range(2):
        fields = ("x-request-id: internal", "x-forwarded-for: 10.1.0.5", "cookie: a=b")
        assert await ask(app, HOST.upper() + ".", "/a?b=c", *fields) == OK
    assert seen == [f"GET /a?b=c HTTP/1.1\r\nhost: {HOST}\r\ncookie: a=b".encode()] * 2
    assert len(connections) == 1
    assert connections[0].connection.get_servername() == HOST.encode()
    assert connections[0].connection.get_alpn_proto_negotiated() == b""
    assert web.bench.dialer.dialled == [SERVER]     # our resolution, not the application's address
    app.close()
    await wait_all_tasks_blocked()
    line = web.bench.lines[0]
    told = [line[name] for name in ("security", "tls", "host", "rule", "status", "dst", "dst_mismatch")]
    assert told == ["tls", "TLSv1.3", HOST, "partners/api", 200, str(DIALLED), True]


async def test_the_address_is_no_mismatch_if_it_is_the_same(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    app = web.dial(Address(SERVER.host, 80))
    assert await ask(app) == OK
    await wait_all_tasks_blocked()
    assert "dst_mismatch" not in web.bench.lines[0]


@pytest.mark.parametrize("holder", [
    partner("other.example"), partner("example"), partner("*.example"), partner(SERVER.host), partner(HOST, authority="stranger"),
    pki.issue(root("public"), subject=HOST), pki.issue(root("public"), pki.host(HOST), ends=-pki.HOUR / 2),
    pki.issue(root("public"), pki.host(HOST), purposes=[pki.CLIENT]), pki.issue(None, pki.host(HOST)),
], ids=["name", "parent", "wildcard-two-labels", "address", "authority", "cn-only", "expired", "purpose", "self-signed"])
async def test_who_does_not_prove_the_name_gets_nothing(
    holder: pki.Holder, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    seen: list[bytes] = []
    web = outside(nursery, holder=holder, seen=seen)
    app = web.dial(DIALLED)
    assert b"BZ0206 server-not-verified" in await ask(app, HOST, "/a", "authorization: secret")
    assert seen == []
    assert len(web.bench.runtime.pool) == 0
    assert b"BZ0206 server-not-verified" in await ask(app)      # the application's connection is sound


async def test_never_plaintext_instead(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, heard = outside(nursery), []

    async def plain(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        heard.append(await stream.receive_some())
        await stream.send_all(OK)

    web.bench.dialer.servers[SERVER] = plain
    assert b"BZ0206" in await ask(web.dial(DIALLED), HOST, "/secret")
    assert len(heard) == 1
    assert heard[0][:2] == b"\x16\x03"
    assert b"secret" not in heard[0]


async def test_the_floor_of_tls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    for floor, version, is_taken in (("1.2", SSL.TLS1_2_VERSION, True), ("1.3", SSL.TLS1_2_VERSION, False),
                                     ("1.2", SSL.TLS1_1_VERSION, False)):
        web = outside(nursery, approved(min_version=floor))
        web.bench.dialer.servers[SERVER] = tls_that(HOST, OK, version)
        answer = await ask(web.dial(DIALLED))
        assert (answer == OK) is is_taken
        assert is_taken or b"BZ0206" in answer


CLIENT = pki.issue(root("clients"), subject="shop", purposes=[pki.CLIENT])


async def test_mutual_tls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    connections: list[TlsStream] = []
    certificate = ClientCertificate("stripe-client", CLIENT.chain_pem, CLIENT.key_pem)
    web = outside(nursery, approved(client_certificate=certificate), client_root=root("clients"), seen=None)
    web.bench.dialer.servers[SERVER] = https(
        partner(HOST), http_app([], OK), client_root=root("clients"), seen=connections)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    shown = connections[0].connection.get_peer_certificate(as_cryptography=True)
    assert shown == CLIENT.certificate
    # Replaced material is used from the next request on, and connections made with the old one are not.
    other = pki.issue(root("clients"), subject="shop2", purposes=[pki.CLIENT])
    web.bench.runtime.rules.set(approved(client_certificate=ClientCertificate("stripe-client", other.chain_pem, other.key_pem)))
    assert await ask(app) == OK
    assert connections[1].connection.get_peer_certificate(as_cryptography=True) == other.certificate
    assert len(web.originator._contexts) == 1       # the old key is not even kept
    # Taken away, the host answers 503 though a good connection is still in the pool.
    web.bench.runtime.rules.set(approved(client_certificate=ClientCertificate("stripe-client")))
    refused = await ask(app)
    assert b" 503 " in refused
    assert b"BZ0203 client-certificate-missing" in refused
    assert b"stripe-client" in refused
    assert CLIENT.certificate.public_bytes(Encoding.PEM) not in refused


async def test_the_server_demands_a_certificate_that_is_not_ours(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery, client_root=root("clients"))
    answer = await ask(web.dial(DIALLED))
    assert b" 502 " in answer or b" 503 " in answer
    assert b"x-bartizan-reason: BZ0403" in answer or b"x-bartizan-reason: BZ0206" in answer


@pytest.mark.parametrize(("changed", "code"), [
    ({"client_certificate": ClientCertificate("s", CLIENT.chain_pem, None)}, "BZ0203"),
    ({"client_certificate": ClientCertificate("s", None, CLIENT.key_pem)}, "BZ0203"),
    ({"client_certificate": ClientCertificate("s", "no PEM", CLIENT.key_pem)}, "BZ0203"),
    ({"client_certificate": ClientCertificate("s", CLIENT.chain_pem, "no PEM")}, "BZ0203"),
    ({"client_certificate": ClientCertificate("s", CLIENT.chain_pem, partner(HOST).key_pem)}, "BZ0203"),
    ({"client_certificate": ClientCertificate("s", CLIENT.chain_pem, "\ud800")}, "BZ0203"),
    ({"roots": "no PEM"}, "BZ0205"), ({"roots": ""}, "BZ0205"),
    ({"roots": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "BZ0205"),
])
async def test_material_that_is_unusable_sends_nothing(
    changed: dict[str, Any], code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = outside(nursery, approved(**changed))
    answer = await ask(web.dial(DIALLED))
    assert b" 503 " in answer
    assert code.encode() in answer
    assert b"PRIVATE KEY" not in answer
    assert web.bench.dialer.dialled == []


# -- which name, and where it leads


@pytest.mark.parametrize("host", [
    "evil.example", f"x.{HOST}", "partner.example", f"{HOST}.evil.example", f"{HOST}:8080", f"evil.example#{HOST}",
    f"{HOST}%00.evil", f"{HOST}@evil.example", "0177.0.0.1", "2130706433", "127.1", "[::ffff:203.0.113.80]", "203.0.113.80",
    "xn--api-partner.example",
    f"{HOST}..", f" {HOST} x", f"{HOST},evil.example", f"{HOST}\tevil",
])
async def test_no_other_name_gets_out(host: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    answer = await ask(web.dial(DIALLED), host)
    assert re.match(rb"HTTP/1\.1 (400|403|421) ", answer), answer
    assert web.bench.dialer.dialled == web.resolver.asked == []


async def test_a_request_that_names_two_hosts(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    for text in (f"GET http://evil.example/ HTTP/1.1\r\nhost: {HOST}", f"GET / HTTP/1.1\r\nhost: {HOST}\r\nhost: evil.example"):
        app = web.dial(DIALLED)
        await app.send_all(text.encode() + b"\r\n\r\n")
        assert (await app.receive_some()).startswith(b"HTTP/1.1 400 ")
    assert web.bench.dialer.dialled == []


async def test_each_request_is_judged_by_its_own_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    assert b"BZ0201 host-not-approved" in await ask(app, "evil.example")
    assert await ask(app) == OK
    web.bench.runtime.is_outbound_open.set(False)
    assert b"BZ0207" in await ask(app)
    assert await read_rest(app) == b""
    web.bench.runtime.is_outbound_open.set(True)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    web.bench.runtime.rules.set(rules())        # withdrawn: the pooled connection is of no use to anybody
    assert b"BZ0201" in await ask(app)


async def test_two_names_of_one_server_share_no_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    second = EgressHost("b.partner.example", "partners/b", tls=Origination(roots=ROOTS))
    web = outside(nursery, approved(second), holder=partner(HOST, "b.partner.example"))
    web.resolver.names["b.partner.example"] = (SERVER.host,)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    assert await ask(app, "b.partner.example") == OK
    assert web.bench.dialer.dialled == [SERVER, SERVER]


@pytest.mark.parametrize(("port", "is_approved"), [(80, True), (8080, True), (443, False), (22, False), (25, False)])
async def test_only_on_the_ports_that_were_approved(
    port: int, is_approved: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = outside(nursery, approved(plain_ports=(80, 8080)))
    answer = await ask(web.dial(Address("203.0.113.1", port)))
    assert (answer == OK) is is_approved
    assert is_approved or b"BZ0201" in answer


async def test_a_port_in_host_that_is_not_the_connections(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    app = web.dial(DIALLED)
    assert await ask(app, f"{HOST}:80") == OK
    assert b"BZ0208 misdirected" in await ask(app, f"{HOST}:8080")
    assert await read_rest(app) == b""


@pytest.mark.parametrize("address", [
    "127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "fd00:ec2::254", "100.64.0.1", "10.0.0.1", "172.16.0.1",
    "192.168.1.1", "224.0.0.1", "192.0.2.9", "64:ff9b::a9fe:a9fe",
])
async def test_an_approved_name_leads_to_no_special_address(
    address: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = outside(nursery)
    web.resolver.names[HOST] = (address,)
    app = web.dial(DIALLED)
    assert b"BZ0204 special-address" in await ask(app)
    assert web.bench.dialer.dialled == []
    web.resolver.names[HOST] = (address, SERVER.host)       # among others it is left out
    assert await ask(app) == OK
    assert web.bench.dialer.dialled == [SERVER]


async def test_a_special_address_that_the_approval_names(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery, approved(special_addresses=("10.0.0.0/24",)))
    web.resolver.names[HOST] = ("10.0.0.7",)
    web.bench.dialer.servers[Address("10.0.0.7", 443)] = web.bench.dialer.servers[SERVER]
    assert await ask(web.dial(DIALLED)) == OK


async def test_rebinding_moves_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What was checked is what is dialled: the name is resolved once for a request, and each request anew."""
    web = outside(nursery)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    web.resolver.names[HOST] = ("169.254.169.254",)
    assert b"BZ0204" in await ask(app)      # though a connection to the good address is in the pool
    assert web.resolver.asked == [HOST, HOST]


async def test_a_name_that_leads_nowhere(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    app = web.dial(DIALLED)
    for found in ((), None):
        web.resolver.names.pop(HOST)
        if found is not None:
            web.resolver.names[HOST] = found
        assert b"BZ0406 name-not-resolved" in await ask(app)
        web.resolver.names[HOST] = (SERVER.host,)


async def test_the_next_address_is_tried(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    silent = Address("203.0.113.82", 443)
    web.bench.dialer.silent.add(silent)
    web.resolver.names[HOST] = ("203.0.113.81", silent.host, SERVER.host)
    assert await ask(web.dial(DIALLED)) == OK
    assert trio.current_time() == STAGGER_S
    assert web.bench.dialer.dialled == [Address("203.0.113.81", 443), silent, SERVER]


async def test_no_address_answers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    web.resolver.names[HOST] = ("203.0.113.81", "203.0.113.82")
    answer = await ask(web.dial(DIALLED))
    assert b"BZ0401 connect-failed" in answer
    assert b"203.0.113.81" in answer
    assert b"203.0.113.82" in answer


async def test_an_external_host_cannot_speak_as_a_sidecar(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery, answer=b"HTTP/1.1 403 No\r\nx-bartizan-reason: BZ0102 x\r\ncontent-length: 0\r\n\r\n")
    assert await ask(web.dial(DIALLED)) == b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"


# -- what is rewritten


async def test_a_redirection_to_the_host_itself_stays_on_the_originated_path(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    given = f"HTTP/1.1 302 x\r\nlocation: https://{HOST}/b\r\nset-cookie: a=b; Secure\r\ncontent-length: 0\r\n\r\n"
    kept = f"HTTP/1.1 302 x\r\nlocation: http://{HOST}:8080/b\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
    web = outside(nursery, approved(plain_ports=(8080,)), answer=given.encode())
    assert await ask(web.dial(Address("203.0.113.1", 8080))) == kept.encode()


async def test_another_tls_port_is_named_to_the_host(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    web = outside(nursery, approved(port=8443))
    web.bench.dialer.servers[Address(SERVER.host, 8443)] = https(partner(HOST), http_app(seen, OK))
    assert await ask(web.dial(DIALLED)) == OK
    assert f"\r\nhost: {HOST}:8443".encode() in seen[0]


# -- the application's own TLS


async def test_tls_passes_through_to_our_resolution_of_its_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    web.bench.dialer.servers[SERVER] = https(partner(HOST), echo)
    stream = await own_tls(web.dial(EVIL))      # the approved name, the attacker's address
    verify_host(stream.connection.get_peer_certificate(as_cryptography=True), HOST)
    await stream.send_all(b"ping")
    assert await read_until(stream, b"ping") == b"ping"
    assert web.bench.dialer.dialled == [SERVER]
    web.bench.runtime.rules.set(rules())        # and it is cut when the approval is withdrawn
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    (line,) = web.bench.lines
    told = [line[name] for name in ("security", "host", "rule", "dst_mismatch", "detail")]
    assert told == ["passthrough", HOST, "partners/api", True, "no longer permitted"]


@pytest.mark.parametrize(("name", "port", "code"), [
    ("evil.example", 443, "BZ0201"), (HOST, 8443, "BZ0201"), (HOST, 80, "BZ0201"), (None, 443, "BZ0202"),
])
async def test_tls_that_is_not_approved(
    name: str | None, port: int, code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = outside(nursery)
    with pytest.raises(NotVerified):
        await own_tls(web.dial(Address(SERVER.host, port)), name)
    await wait_all_tasks_blocked()
    assert web.bench.codes == [code]
    assert web.bench.dialer.dialled == []


async def test_a_host_that_is_approved_for_its_own_tls_only(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """`protocol: tls`: nothing is originated, and what is no TLS does not leave."""
    web = outside(nursery, approved(plain_ports=()))
    web.bench.dialer.servers[SERVER] = https(partner(HOST), echo)
    for port in (80, 443):
        answer = await ask(web.dial(Address(SERVER.host, port)))
        assert b"BZ0201 host-not-approved" in answer
        assert b"not plain HTTP to port %d" % port in answer
    assert web.bench.dialer.dialled == []
    await own_tls(web.dial(EVIL))


@pytest.mark.parametrize(("found", "code"), [(("169.254.169.254",), "BZ0204"), ((), "BZ0406"), (("203.0.113.99",), "BZ0401")])
async def test_tls_whose_name_leads_nowhere(
    found: tuple[str, ...], code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = outside(nursery)
    web.resolver.names[HOST] = found
    with pytest.raises(NotVerified):
        await own_tls(web.dial(EVIL))
    await wait_all_tasks_blocked()
    assert web.bench.codes == [code]


async def test_a_hello_that_two_readers_could_understand_differently(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    two_names = client_hello(HOST).replace(HOST.encode(), b"api.partner\x00example")
    app = web.dial(EVIL)
    assert await is_gone(app, two_names)
    assert web.bench.codes == ["BZ0202"]
    assert web.bench.dialer.dialled == []


async def test_connect_is_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    app = web.dial(DIALLED)
    await app.send_all(f"CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n".encode() + GET)
    assert (await read_rest(app)).startswith(b"HTTP/1.1 405 ")
    assert web.bench.dialer.dialled == []


# -- names below a wildcard, which the name server would hear of

LIMITED = DnsLimits(per_s=1, burst=3)
WILD = "*.partner.example"
RANDOM = "q7w2e9r4t1y8u3i0p5a6"      # 20 different characters


def wild(limits: DnsLimits = LIMITED, **changed: Any) -> Rules:
    known = approved(host=WILD)
    return rules(outbound=replace(known.snapshot.outbound, dns=limits, **changed))


def unasked(web: Pod) -> Pod:
    for i in range(10):
        web.resolver.names[f"{i}.partner.example"] = (SERVER.host,)
    return web


async def test_a_host_carries_no_data_to_its_name_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What the DNS guard refuses goes out by no Host either."""
    web = unasked(outside(nursery, wild(), holder=partner(WILD)))
    app = web.dial(DIALLED)
    assert b"BZ0212 name-suspicious" in await ask(app, f"{RANDOM}.partner.example")
    assert b"BZ0212 name-suspicious" in await ask(app, f"{'a.' * 60}partner.example")
    assert web.resolver.asked == []
    answers = [await ask(app, f"{i}.partner.example") for i in range(5)]
    assert [b"BZ0212" in answer for answer in answers] == [False] * 3 + [True] * 2
    assert web.resolver.asked == [f"{i}.partner.example" for i in range(3)]
    assert await ask(app, "0.partner.example") == OK        # known
    await trio.sleep(1)
    assert await ask(app, "4.partner.example") == OK
    app.close()
    await wait_all_tasks_blocked()
    line = web.bench.lines[0]
    assert (line["code"], line["host"], line["dst"]) == ("BZ0212", f"{RANDOM}.partner.example", str(DIALLED))


async def test_a_tls_name_carries_none_either(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = unasked(pod(nursery, wild()))
    web.bench.dialer.servers[SERVER] = https(partner(WILD), echo)
    to = Address(DIALLED.host, 443)
    with pytest.raises(NotVerified):
        await own_tls(web.dial(to), f"{RANDOM}.partner.example")
    for i in range(3):
        await own_tls(web.dial(to), f"{i}.partner.example")
    with pytest.raises(NotVerified):
        await own_tls(web.dial(to), "3.partner.example")
    assert web.resolver.asked == [f"{i}.partner.example" for i in range(3)]
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0212", "BZ0212"]


async def test_guard_and_host_share_an_account(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = unasked(outside(nursery, wild(), holder=partner(WILD)))
    app = web.dial(DIALLED)
    for i in range(3):
        await web.guard.answer(dns.message.make_query(f"{i}.partner.example", "TXT").to_wire())
    assert b"BZ0212" in await ask(app, "3.partner.example")
    assert await ask(app, "0.partner.example") == OK


async def test_a_suspicious_name_that_is_only_observed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery, wild(DnsLimits(mode="observe")), holder=partner(WILD))
    web.resolver.names[f"{RANDOM}.partner.example"] = (SERVER.host,)
    app = web.dial(DIALLED)
    assert await ask(app, f"{RANDOM}.partner.example") == OK
    app.close()
    await wait_all_tasks_blocked()
    assert "BZ0212 name-suspicious" in web.bench.lines[0]["detail"]


# -- policy that changes while a connection is made, or in use


@pytest.mark.parametrize("tls", [True, False])
async def test_a_leave_that_ends_meanwhile_sends_nothing(tls: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []

    async def listen(sock: socket.socket) -> None:
        heard.append(await read_rest(SocketStream(sock)))

    web = outside(nursery, approved() if tls else rules(outbound=Outbound(
        hosts=(EgressHost(HOST, "partners/api", plain_ports=(443,), tls=None),), resolvers=("10.96.0.10",),
    )))
    web.bench.dialer.servers[SERVER] = https(partner(HOST), listen) if tls else listen
    web.bench.dialer.connecting = lambda: web.bench.runtime.rules.set(rules())
    answer = await ask(web.dial(DIALLED if tls else Address(DIALLED.host, 443)))
    assert b"BZ0201" in answer
    assert b"no longer permitted" in answer
    await wait_all_tasks_blocked()
    assert b"".join(heard) == b""
    assert len(web.bench.runtime.pool) == 0


@pytest.mark.parametrize("changed", [
    {"methods": ("POST",)}, {"paths": ("/b",)}, {"key_pins": (f"sha256/{'A' * 43}=",)}, {"min_version": "1.3"}, {"bytes_per_hour": 100000},
], ids=lambda changed: next(iter(changed)))
async def test_a_request_under_way_ends_where_more_is_asked_of_it(
    changed: dict[str, Any], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def slow(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await trio.sleep_forever()

    web = outside(nursery)
    web.bench.dialer.servers[SERVER] = https(partner(HOST), slow)
    app = web.dial(DIALLED)
    assert (await ask(app)).endswith(b"half")
    web.bench.runtime.rules.set(approved())     # an equal one ends nothing
    web.bench.runtime.withdrawals.part()
    await wait_all_tasks_blocked()
    assert web.bench.lines == []
    web.bench.runtime.rules.set(approved(**changed))
    web.bench.runtime.withdrawals.part()
    assert await is_gone(app)
    assert trio.current_time() == 0


# -- NetworkPolicies

OTHER = Address("203.0.113.81", 443)


def two_addresses(nursery: trio.Nursery, known: Rules) -> Pod:
    web = outside(nursery, known)
    web.resolver.names[HOST] = (SERVER.host, OTHER.host)
    web.bench.dialer.servers[OTHER] = web.bench.dialer.servers[SERVER]
    return web


async def test_only_addresses_that_a_policy_lists_are_dialled(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = two_addresses(nursery, leaving(approved(), f"{OTHER.host}/32", port=443))
    assert await ask(web.dial(DIALLED)) == OK
    assert web.bench.dialer.dialled == [OTHER]
    tls = await own_tls(web.dial(Address(DIALLED.host, 443)))
    tls.close()
    assert web.bench.dialer.dialled == [OTHER, OTHER]


@pytest.mark.parametrize("listed", [
    ((f"{DIALLED.host}/32",), None),        # what the application dialled decides nothing
    ((f"{SERVER.host}/32", f"{OTHER.host}/32"), 80),    # nor does the port that it dialled
])
async def test_a_name_of_which_no_address_is_listed(
    listed: tuple[tuple[str, ...], int | None], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = two_addresses(nursery, leaving(approved(), *listed[0], port=listed[1]))
    answer = await ask(web.dial(DIALLED))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"x-bartizan-reason: BZ0216 network-policy-out\r\n" in answer
    with pytest.raises(NotVerified):
        await own_tls(web.dial(Address(DIALLED.host, 443)))
    await wait_all_tasks_blocked()
    assert [(line["code"], line["rule"]) for line in web.bench.lines] == [("BZ0216", NAMED)] * 2
    assert web.bench.dialer.dialled == []


async def test_observation_does_not_loosen_a_policy(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    watching = rules(outbound=Outbound(mode="observe", observe_until=9e9, resolvers=("10.96.0.10",)))
    web = two_addresses(nursery, leaving(watching, "192.0.2.0/24"))
    assert b"BZ0216" in await ask(web.dial(DIALLED))
    assert await is_gone(web.dial(DIALLED), b"\x00no name")
    assert web.bench.codes == ["BZ0216"] * 2
    assert web.bench.dialer.dialled == []


async def test_what_leaves_ends_when_no_policy_lists_it_any_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request under way, the kept connection, and TLS that passes through."""
    async def slow(sock: socket.socket) -> None:
        await SocketStream(sock).send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await trio.sleep_forever()

    web = outside(nursery, leaving(approved(), f"{SERVER.host}/32"))
    web.bench.dialer.servers[SERVER] = https(partner(HOST), slow)
    app = web.dial(DIALLED)
    assert (await ask(app)).endswith(b"half")
    tls = await own_tls(web.dial(Address(DIALLED.host, 443)))
    web.bench.runtime.rules.set(leaving(approved(), f"{SERVER.host}/32", port=443))
    web.bench.runtime.withdrawals.part()
    await wait_all_tasks_blocked()
    assert web.bench.lines == []
    web.bench.runtime.rules.set(leaving(approved(), f"{OTHER.host}/32"))
    web.bench.runtime.withdrawals.part()
    assert await is_gone(app)
    assert await is_gone(tls)
    assert trio.current_time() == 0
    await wait_all_tasks_blocked()
    assert [line.get("detail") for line in web.bench.lines if line["security"] == "passthrough"] == ["no longer permitted"]
    assert len(web.bench.runtime.pool) == 0


async def test_plaintext_that_a_policy_lets_out_ends_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = rules(outbound=Outbound(hosts=(EgressHost(HOST, "partners/api", tls=None),), resolvers=("10.96.0.10",)))
    web, at = pod(nursery, leaving(known, f"{SERVER.host}/32")), Address(SERVER.host, 80)
    web.resolver.names[HOST] = (SERVER.host,)
    web.bench.dialer.servers[at] = http_app([], OK)
    app = web.dial(DIALLED)
    assert await ask(app) == OK
    web.bench.runtime.rules.set(leaving(known, f"{OTHER.host}/32"))
    web.bench.runtime.withdrawals.part()
    assert b"BZ0216" in await ask(app)
    assert web.bench.dialer.dialled == [at]


# -- ExternalName Services

ALIASES = (Alias("partner.shop", HOST), Alias("evil.shop", "evil.example"), Alias("odd.shop", "", "its externalName is an address"))


def aliased(known: Rules) -> Rules:
    return Rules.of(replace(known.snapshot, outbound=replace(known.snapshot.outbound, aliases=ALIASES)), known.digest)


@pytest.mark.parametrize("name", ["partner", "partner.shop", "partner.shop.svc", "partner.shop.svc.cluster.local"])
async def test_a_service_that_stands_for_a_host_is_that_host(name: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    web = outside(nursery, aliased(approved(methods=("GET",))), seen=seen)
    assert await ask(web.dial(DIALLED), name) == OK
    assert f"host: {HOST}".encode() in seen[0].lower()
    assert b"partner.shop" not in seen[0]
    assert web.resolver.asked == [HOST]
    await wait_all_tasks_blocked()
    app = web.dial(DIALLED)
    await app.send_all(f"POST / HTTP/1.1\r\nhost: {name}\r\ncontent-length: 0\r\n\r\n".encode())
    assert b"BZ0210" in await app.receive_some()        # judged as that host
    app.close()
    await wait_all_tasks_blocked()
    assert {line["host"] for line in web.bench.lines} == {HOST}


@pytest.mark.parametrize(("name", "words"), [
    ("evil.shop", b"evil.example is not approved"), ("odd.shop", b"its externalName is an address"), ("partner.money", b"not approved"),
])
async def test_an_alias_approves_nothing(name: str, words: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery, aliased(approved()))
    answer = await ask(web.dial(DIALLED), name)
    assert b"BZ0201" in answer
    assert words in answer
    assert web.bench.dialer.dialled == web.resolver.asked == []


@pytest.mark.parametrize(("name", "words"), [("partner.shop", HOST), ("odd.shop", "its externalName is an address")])
async def test_tls_that_says_the_services_name_is_refused(
    name: str, words: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web = outside(nursery, aliased(approved()))
    with pytest.raises(NotVerified):
        await own_tls(web.dial(Address(DIALLED.host, 443)), name)
    await wait_all_tasks_blocked()
    (line,) = web.bench.lines
    assert line["code"] == "BZ0201"
    assert words in line["detail"]
    assert web.bench.dialer.dialled == []


async def test_a_name_that_is_approved_as_it_is_stands_for_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = approved(host="partner.shop")
    web = outside(nursery, aliased(known), holder=partner("partner.shop"))
    web.resolver.names["partner.shop"] = (SERVER.host,)
    assert await ask(web.dial(DIALLED), "partner.shop") == OK
