"""Who is at the other end? T1, T5 to T10, T15: wrong certificates through real handshakes, in both directions.

Each is shown to the inbound recipe by a client and to the outbound recipe by a server. None is accepted: the connection ends, nothing
goes through it, one record says why; a good peer is served before and after.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import Outbound
from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.model.reason import Reason
from sidecar.model.service import Endpoint, Service
from sidecar.model.trust import Revoked, serial_text
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import key_hash
from tests.helpers import certificates, pki
from tests.helpers.certificates import BOTH, HOUR, SVID, authority, constraints, context, made, names, raw_name, svid, usage
from tests.helpers.exchange import GET, OK
from tests.helpers.leave import pod
from tests.helpers.mesh import APP, arrive, call, http_app, is_gone, meshed, read_rest, read_until, root, sidecar
from tests.helpers.pki import DOMAIN, ORDERS, WEB, Holder
from tests.helpers.runtime import rules

VIP, ENDPOINT = Address("10.96.7.1", 80), Address("10.1.0.7", 8080)
OUTBOUND = rules(outbound=Outbound(services=(
    Service("orders.shop", VIP.port, (VIP.host,), "http", (Endpoint(ENDPOINT.host, ENDPOINT.port, ORDERS),)),
)))


@dataclass(frozen=True)
class Shown:
    """What an attacker shows, and the words of the record that refuses it.

    Args:
        chain: what he sends behind the leaf; None: its intermediates.
        to: `server` or `client` where only one of them refuses it.
    """

    holder: Callable[[], Holder]
    why: str
    chain: Callable[[Holder], list[x509.Certificate]] | None = None
    to: str = ""


def of(*uris: str) -> Callable[[], Holder]:
    return lambda: made(root(), [*SVID, names(*(pki.uri(uri) for uri in uris))])


def named(uri: bytes) -> Callable[[], Holder]:
    return lambda: made(root(), [*SVID, raw_name(uri)])


def having(*extensions: tuple[x509.ExtensionType, bool], subject: str = "") -> Callable[[], Holder]:
    return lambda: made(root(), extensions, subject=subject)


@cache
def intermediate(kind: str) -> Holder:
    """Of our own root, and wrong for signing what it signs."""
    signs, ca = usage(signs=True, crl=True, digital=False), constraints(ca=True)
    match kind:
        case "good":
            return authority(root(), kind)
        case "no-ca":
            return made(root(), [constraints(), signs], subject=kind)
        case "no-key-cert-sign":
            return made(root(), [ca, usage(crl=True)], subject=kind)
        case "no-constraints":
            return made(root(), [signs], subject=kind)
        case "pathlen-0":
            return authority(root(), kind, length=0)
        case "expired":
            return pki.issue(root(), subject=kind, is_ca=True, begins=-2 * HOUR, ends=-HOUR)
        case "for-servers":
            return made(root(), [ca, signs, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)], subject=kind)
        case "rsa-1024":
            return authority(root(), kind, key=pki.weak_key())
        case "rsa":
            return authority(root(), kind, key=rsa.generate_private_key(65537, 2048))
    permitted = {"uris-only": pki.uri(DOMAIN), "other-domain": pki.uri("example.net")}[kind]
    return authority_of(x509.NameConstraints([permitted], [x509.DNSName("")]), kind)


def authority_of(limits: x509.NameConstraints, subject: str) -> Holder:
    return made(root(), [constraints(ca=True), usage(signs=True, crl=True, digital=False), (limits, True)], subject=subject)


def by(kind: str, *more: x509.GeneralName) -> Callable[[], Holder]:
    return lambda: made(intermediate(kind), [*SVID, names(*(more or (pki.uri(ORDERS),)))])


def with_key(key: Callable[[], object]) -> Callable[[], Holder]:
    return lambda: svid(root(), key=key())  # type: ignore[arg-type]


VERIFY, NO_SVID, NO_ID = "certificate verify failed", "no SVID", "not a SPIFFE ID"
PATH = "/ns/shop/sa/orders"
WRONG: dict[str, Shown] = {
    # -- T6: the chain
    "T6-expired": Shown(lambda: pki.issue(root(), pki.uri(ORDERS), begins=-2 * HOUR, ends=-HOUR), "has expired"),
    "T6-not-yet-valid": Shown(lambda: pki.issue(root(), pki.uri(ORDERS), begins=HOUR, ends=2 * HOUR), "not yet valid"),
    "T6-self-signed": Shown(lambda: pki.issue(None, pki.uri(ORDERS), subject="orders"), "self.signed"),
    "T6-unknown-root": Shown(lambda: svid(root("stranger")), "unable to get|self.signed"),
    "T6-root-of-the-same-name": Shown(lambda: svid(pki.authority("root")), "signature failure|unable to get"),
    "T6-for-servers-only": Shown(
        having(constraints(), usage(), (x509.ExtendedKeyUsage([pki.SERVER]), False), names(pki.uri(ORDERS))), "purpose", to="server"),
    "T6-for-clients-only": Shown(
        having(constraints(), usage(), (x509.ExtendedKeyUsage([pki.CLIENT]), False), names(pki.uri(ORDERS))), "purpose", to="client"),
    "T6-for-code-only": Shown(
        having(constraints(), usage(), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False), names(pki.uri(ORDERS))),
        "purpose"),
    "T6-intermediate-no-ca": Shown(by("no-ca"), "CA"),
    "T6-intermediate-without-constraints": Shown(by("no-constraints"), "CA"),
    "T6-intermediate-may-not-sign": Shown(by("no-key-cert-sign"), "CA|key usage"),
    "T6-intermediate-expired": Shown(by("expired"), "has expired"),
    "T6-intermediate-for-other-purposes": Shown(by("for-servers"), "purpose"),
    "T6-intermediate-rsa-1024": Shown(by("rsa-1024"), "too weak"),
    "T6-pathlen": Shown(lambda: svid(authority(intermediate("pathlen-0"), "below")), "path length"),
    "T6-signed-by-a-workload": Shown(
        lambda: svid(made(root(), [*SVID, names(pki.uri(ORDERS))], subject="orders")), "CA|key usage|unable to get|purpose"),
    "T6-constraint-other-domain": Shown(by("other-domain"), "permitted subtree"),
    "T6-constraint-dns": Shown(by("uris-only", pki.uri(ORDERS), pki.host("orders.example.org")), "excluded subtree"),
    "T6-ca-as-leaf": Shown(having(constraints(ca=True), usage(signs=True), BOTH, names(pki.uri(ORDERS))), f"is a CA|{NO_SVID}"),
    "T6-root-as-leaf": Shown(lambda: root(), "self.signed|no SVID|purpose"),
    "T6-sha1": Shown(lambda: certificates.signed_again(svid(root()), root(), hashes.SHA1()), "too weak"),
    "T6-md5": Shown(lambda: certificates.signed_again(svid(intermediate("rsa")), intermediate("rsa"), hashes.MD5()), "too weak"),
    "T6-rsa-1024": Shown(with_key(pki.weak_key), "too (weak|small)"),
    "T6-rsa-16k": Shown(with_key(certificates.huge_key), r"a key of 163\d\d bits"),
    "T6-p192": Shown(with_key(lambda: ec.generate_private_key(ec.SECP192R1())), "did not return a certificate|protocol version"),
    "T6-50-certificates": Shown(lambda: certificates.long_chain(root(), 50), "chain too long"),
    "T6-7-certificates": Shown(lambda: certificates.long_chain(root(), 7), "chain too long"),
    "T6-missing-intermediate": Shown(by("good"), "unable to get", lambda _: []),
    "T6-intermediate-of-another": Shown(by("good"), "unable to get", lambda _: [intermediate("no-ca").certificate]),
    "T6-brings-its-own-root": Shown(lambda: svid(root("stranger")), "self.signed|unable to get", lambda _: [root("stranger").certificate]),
    "T6-unknown-critical-extension": Shown(
        having(*SVID, names(pki.uri(ORDERS)), (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)),
        "critical extension"),
    # -- T7: the SVID
    "T7-no-name": Shown(having(*SVID, subject="orders"), "has no subjectAltName"),
    "T7-common-name-alone": Shown(having(*SVID, subject=ORDERS), "has no subjectAltName"),
    "T7-no-uri": Shown(having(*SVID, names(pki.host("orders"))), "exactly one URI"),
    "T7-two-uris": Shown(of(ORDERS, WEB), "2 names"),
    "T7-one-uri-twice": Shown(of(ORDERS, ORDERS), "2 names"),
    "T7-uri-and-dns": Shown(having(*SVID, names(pki.uri(ORDERS), pki.host("orders"))), "2 names"),
    "T7-uri-and-ip": Shown(having(*SVID, names(pki.uri(ORDERS), pki.host("10.0.0.1"))), "2 names"),
    "T7-uri-and-mail": Shown(having(*SVID, names(pki.uri(ORDERS), x509.RFC822Name("a@example.org"))), "2 names"),
    "T7-signs-certificates": Shown(having(constraints(), usage(signs=True), BOTH, names(pki.uri(ORDERS))), "key usage|CA"),
    "T7-signs-crls": Shown(having(constraints(), usage(crl=True), BOTH, names(pki.uri(ORDERS))), "key usage"),
    "T7-signs-nothing": Shown(having(constraints(), usage(digital=False, crl=True), BOTH, names(pki.uri(ORDERS))), "key usage|purpose"),
    "T7-no-key-usage": Shown(having(constraints(), BOTH, names(pki.uri(ORDERS))), "has no keyUsage"),
    "T7-no-basic-constraints": Shown(having(usage(), BOTH, names(pki.uri(ORDERS))), "has no basicConstraints"),
    "T7-https": Shown(of(f"https://{DOMAIN}{PATH}"), NO_ID),
    "T7-upper-case-scheme": Shown(of(f"SPIFFE://{DOMAIN}{PATH}"), NO_ID),
    "T7-upper-case-domain": Shown(of(f"spiffe://EXAMPLE.org{PATH}"), NO_ID),
    "T7-no-scheme": Shown(of(f"//{DOMAIN}{PATH}"), NO_ID),
    "T7-no-path": Shown(of(f"spiffe://{DOMAIN}"), NO_ID),
    "T7-root-path": Shown(of(f"spiffe://{DOMAIN}/"), NO_ID),
    "T7-no-domain": Shown(of(f"spiffe://{PATH}"), NO_ID),
    "T7-trailing-slash": Shown(of(ORDERS + "/"), NO_ID),
    "T7-port": Shown(of(f"spiffe://{DOMAIN}:443{PATH}"), NO_ID),
    "T7-userinfo": Shown(of(f"spiffe://{DOMAIN}@evil.example{PATH}"), NO_ID),
    "T7-query": Shown(of(ORDERS + "?a=b"), NO_ID),
    "T7-fragment": Shown(of(ORDERS + "#a"), NO_ID),
    "T7-percent": Shown(of(ORDERS.replace("orders", "%6frders")), NO_ID),
    "T7-dot-segments": Shown(of(f"spiffe://{DOMAIN}/ns/bank/../shop/sa/orders"), NO_ID),
    "T7-dot-segment": Shown(of(f"spiffe://{DOMAIN}/./ns/shop/sa/orders"), NO_ID),
    "T7-empty-segment": Shown(of(f"spiffe://{DOMAIN}//ns/shop/sa/orders"), NO_ID),
    "T7-another-form": Shown(of(f"spiffe://{DOMAIN}/workload/orders"), NO_ID),
    "T7-too-long": Shown(of(f"{ORDERS}{'.a' * 1100}"), NO_ID),
    "T7-space": Shown(of(ORDERS + " "), NO_ID),
    "T7-line-feed": Shown(of(ORDERS + "\n"), NO_ID),
    "T7-other-domain": Shown(of(f"spiffe://example.net{PATH}"), "not of the trust domain"),
    "T7-domain-with-dot": Shown(of(f"spiffe://{DOMAIN}.{PATH}"), f"{NO_ID}|not of the trust domain"),
    "T7-below-the-domain": Shown(of(f"spiffe://a.{DOMAIN}{PATH}"), "not of the trust domain"),
    "T7-domain-and-more": Shown(of(f"spiffe://{DOMAIN}.evil.example{PATH}"), "not of the trust domain"),
    # -- T8: bytes that end a name for some readers only
    "T8-nul": Shown(named(ORDERS.encode() + b"\0.evil.example"), NO_ID),
    "T8-nul-at-the-end": Shown(named(ORDERS.encode() + b"\0"), NO_ID),
    "T8-nul-first": Shown(named(b"\0" + ORDERS.encode()), NO_ID),
    "T8-no-utf8": Shown(named(ORDERS.encode() + b"\xff"), f"{NO_ID}|cannot be read"),
    "T8-overlong": Shown(named(ORDERS.encode().replace(b"/sa", b"\xc0\xafsa")), f"{NO_ID}|cannot be read"),
    "T8-empty": Shown(named(b""), NO_ID),
    "T8-no-der": Shown(having(*SVID, (x509.UnrecognizedExtension(names(pki.uri("a"))[0].oid, b"\x30\x05\x86\x20abc"), False)),
                       "cannot be read|verify failed|no SVID"),
}

GOOD: dict[str, Shown] = {
    "root": Shown(lambda: svid(root()), ""),
    "intermediate": Shown(by("good"), ""),
    "constrained": Shown(by("uris-only"), ""),
    "pathlen-0": Shown(by("pathlen-0"), ""),
    "6-certificates": Shown(lambda: certificates.long_chain(root(), 6), ""),
    "subject": Shown(having(*SVID, names(pki.uri(ORDERS)), subject="orders"), ""),
    "without-purposes": Shown(having(constraints(), usage(), names(pki.uri(ORDERS))), ""),
    "p384": Shown(with_key(lambda: ec.generate_private_key(ec.SECP384R1())), ""),
    "rsa-2048": Shown(with_key(lambda: rsa.generate_private_key(65537, 2048)), ""),
    "ed25519": Shown(with_key(ed25519.Ed25519PrivateKey.generate), ""),
    # > implementations SHOULD be prepared to handle potentially extraneous certificates and arbitrary orderings (RFC 8446 s4.4.2):
    # each link is verified, whatever the order.
    "wrong-order": Shown(lambda: certificates.long_chain(root(), 3), "", lambda holder: list(reversed(holder.intermediates))),
    "twice": Shown(by("good"), "", lambda holder: [*holder.intermediates, *holder.intermediates, holder.certificate]),
    "stranger-besides": Shown(by("good"), "", lambda holder: [root("stranger").certificate, *holder.intermediates]),
}


def evil(shown: Shown, *, is_server: bool) -> SSL.Context:
    holder = shown.holder()
    return context(holder, is_server=is_server, chain=shown.chain(holder) if shown.chain else None)


async def is_refused(stream: TlsStream, reason: Reason) -> bool:
    """Whether a request gets an end, an alert or, where TLS had accepted the certificate and we do not, this reason; and nothing else."""
    try:
        await stream.send_all(GET)
        told = await read_rest(stream)
    except trio.BrokenResourceError:
        return True
    return not told or (told.count(b"HTTP/1.1 ") == 1 and f"x-bartizan-reason: {reason.code} ".encode() in told)


def test_enough_are_tried() -> None:
    assert len(rows(WRONG, "server")) > 70
    assert len(rows(WRONG, "client")) > 70


async def is_served(nursery: trio.Nursery, known: object) -> None:
    stream = await call(arrive(nursery, known))  # type: ignore[arg-type]
    await stream.send_all(GET)
    assert await read_until(stream, b"ok") == OK
    stream.close()
    await wait_all_tasks_blocked()


def rows(shown: dict[str, Shown], to: str) -> list[object]:
    return [pytest.param(one, id=name) for name, one in shown.items() if one.to in ("", to)]


@pytest.mark.parametrize("shown", rows(WRONG, "server"))
async def test_a_client_that_is_not_who_it_should_be(shown: Shown, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, seen = meshed(nursery), []
    known.dialer.servers[APP] = http_app(seen, OK)
    await is_served(nursery, known)
    dialled, lines = len(known.dialer.dialled), len(known.lines)
    stream = TlsStream(evil(shown, is_server=False), arrive(nursery, known), is_server=False)
    try:
        await stream.handshake(NotVerified)
    except NotVerified:
        pass    # TLS 1.3: most clients learn of it only later
    else:
        assert await is_refused(stream, Reason.PEER_NOT_VERIFIED)
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines[lines:]
    assert (line["code"], line["direction"]) == (Reason.PEER_NOT_VERIFIED.code, "inbound")
    assert re.search(shown.why, line["detail"]), line["detail"]
    assert (len(known.dialer.dialled), len(seen)) == (dialled, 1)
    await is_served(nursery, known)


@pytest.mark.parametrize("shown", rows(WRONG, "client"))
async def test_a_server_that_is_not_who_it_should_be(shown: Shown, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, heard = pod(nursery, OUTBOUND), []
    _, good = sidecar(nursery, http_app([], OK))
    theirs = evil(shown, is_server=True)

    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(theirs, sock, is_server=True)
        try:
            await stream.handshake(TlsRejected)
            heard.append(await stream.receive_some())
        except (TlsRejected, trio.BrokenResourceError):
            pass
        finally:
            stream.close()

    async def ask() -> bytes:
        app = web.dial(VIP)
        await app.send_all(GET)
        answer = await app.receive_some()
        app.close()
        await wait_all_tasks_blocked()
        web.bench.runtime.pool.close()      # the next one shakes hands anew
        return answer

    for server, is_good in ((good, True), (serve, False), (good, True)):
        web.bench.dialer.servers[ENDPOINT] = server
        answer = await ask()
        assert (answer == OK) is is_good, answer
        if not is_good:
            assert answer.startswith(b"HTTP/1.1 50")
            line = web.bench.lines[-1]
            assert (line["code"], line["direction"]) == (Reason.SERVER_NOT_VERIFIED.code, "outbound")
            assert re.search(shown.why, line["detail"]), line["detail"]
    assert b"".join(heard) == b""


@pytest.mark.parametrize("shown", [pytest.param(one, id=name) for name, one in GOOD.items()])
async def test_who_is_right_is_taken(shown: Shown, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """On both sides; and the same certificates that the attackers' contexts show are not refused for these contexts' sake."""
    known = meshed(nursery)
    known.dialer.servers[APP] = http_app([], OK)
    stream = TlsStream(evil(shown, is_server=False), arrive(nursery, known), is_server=False)
    await stream.handshake(NotVerified)
    await stream.send_all(GET)
    assert await read_until(stream, b"ok") == OK
    stream.close()

    web, theirs = pod(nursery, OUTBOUND), evil(shown, is_server=True)

    async def serve(sock: socket.socket) -> None:
        server = TlsStream(theirs, sock, is_server=True)
        await server.handshake(TlsRejected)
        await server.receive_some()
        await server.send_all(OK)
        server.close()

    web.bench.dialer.servers[ENDPOINT] = serve
    app = web.dial(VIP)
    await app.send_all(GET)
    assert await read_until(app, b"ok") == OK
    app.close()


# -- T6 again: where our own intermediate is trusted beside the roots, what it says of itself still holds


def below(kind: str) -> MeshTls:
    """The workload orders, whose own chain goes through an intermediate."""
    return pki.mesh_tls(by(kind)(), root(), ORDERS)


@pytest.mark.parametrize(("own", "shown", "why"), [
    pytest.param("pathlen-0", lambda: svid(authority(intermediate("pathlen-0"), "below")), "path length", id="T6-own-pathlen"),
    pytest.param("uris-only", by("uris-only", pki.uri(ORDERS), pki.host("orders.example.org")), "excluded subtree", id="T6-own-constraint"),
    pytest.param("uris-only", by("uris-only", pki.uri("spiffe://example.net/ns/a/sa/b")), "permitted subtree", id="T6-own-other-domain"),
    pytest.param("expired", by("expired"), "has expired", id="T6-own-expired"),
    pytest.param("no-key-cert-sign", by("no-key-cert-sign"), "key usage|CA", id="T6-own-may-not-sign"),
    pytest.param("good", lambda: svid(Holder(intermediate("good").certificate, root("stranger").key)), "signature", id="T6-own-forged"),
    pytest.param("good", lambda: svid(root("stranger")), "unable to get|self.signed", id="T6-own-stranger"),
])
async def test_our_own_intermediate_is_no_root(
    own: str, shown: Callable[[], Holder], why: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = meshed(nursery)
    known.runtime.tls.set(below(own))
    stream = TlsStream(evil(Shown(shown, ""), is_server=False), arrive(nursery, known), is_server=False)
    await stream.handshake(NotVerified)
    assert await is_gone(stream, GET)
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines
    assert line["code"] == Reason.PEER_NOT_VERIFIED.code
    assert re.search(why, line["detail"]), line["detail"]
    assert known.dialer.dialled == []


# -- T9: nobody at all, or an older TLS


@pytest.mark.parametrize(("make", "why"), [
    pytest.param(lambda: context(None, is_server=False), "did not return a certificate", id="T9-no-certificate"),
    pytest.param(lambda: older(SSL.TLS1_2_VERSION), "unsupported protocol|protocol version", id="T1-tls-1.2"),
    pytest.param(lambda: older(SSL.TLS1_1_VERSION), "unsupported protocol|protocol version", id="T1-tls-1.1"),
    pytest.param(lambda: older(SSL.TLS1_VERSION), "unsupported protocol|protocol version", id="T1-tls-1.0"),
])
async def test_a_client_that_speaks_less(
    make: Callable[[], SSL.Context], why: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    known = meshed(nursery)
    stream = TlsStream(make(), arrive(nursery, known), is_server=False)
    try:
        await stream.handshake(NotVerified)
        assert await is_gone(stream, GET)
    except NotVerified:
        pass
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines
    assert line["code"] == Reason.PEER_NOT_VERIFIED.code
    assert re.search(why, line["detail"]), line["detail"]
    assert known.dialer.dialled == []


def older(version: int) -> SSL.Context:
    made = context(svid(root()), is_server=False)
    made.set_min_proto_version(version)
    made.set_max_proto_version(version)
    return made


# -- T10, T15: right, but not the one; right, but no longer


async def test_t10_another_workload_than_the_one_that_was_meant(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, seen = pod(nursery, OUTBOUND), []
    _, web.bench.dialer.servers[ENDPOINT] = sidecar(nursery, http_app(seen, OK), identity=WEB)
    app = web.dial(VIP)
    await app.send_all(GET)
    assert b"BZ0502 wrong-identity" in await app.receive_some()
    app.close()
    await wait_all_tasks_blocked()
    assert (web.bench.codes, seen) == ([Reason.WRONG_IDENTITY.code], [])


def revoked(how: str, holder: Holder) -> Revoked:
    certificate = holder.certificate
    match how:
        case "identity":
            return Revoked(identities=(ORDERS,))
        case "pod":
            return Revoked(pods=("u-1",))
        case "serial":
            return Revoked(serials=(serial_text(certificate.serial_number),))
    return Revoked(keys=(key_hash(certificate),))


@pytest.mark.parametrize("how", ["identity", "pod", "serial", "key"])
async def test_t15_one_who_was_revoked(how: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """In both directions, by a deny-list that came after his certificate; who is not on it is served."""
    holder = pki.issue(root(), pki.uri(ORDERS), pod_uid="u-1")
    own = pki.credentials(pki.issue(root(), pki.uri(WEB)))
    known = meshed(nursery, rules(identity=WEB), WEB)
    known.dialer.servers[APP] = http_app([], OK)
    known.runtime.tls.set(MeshTls.of(own, pki.anchors(root(), revoked=revoked(how, holder))))
    stream = TlsStream(context(holder, is_server=False), arrive(nursery, known), is_server=False)
    await stream.handshake(NotVerified)
    assert await is_refused(stream, Reason.REVOKED)
    stream.close()
    await wait_all_tasks_blocked()
    assert [(line["code"], "was revoked" in line["detail"]) for line in known.lines] == [(Reason.REVOKED.code, True)]
    assert known.dialer.dialled == []
    await is_served(nursery, known)

    web = pod(nursery, OUTBOUND)
    web.bench.runtime.tls.set(MeshTls.of(own, pki.anchors(root(), revoked=revoked(how, holder))))
    heard: list[bytes] = []

    async def serve(sock: socket.socket) -> None:
        server = TlsStream(context(holder, is_server=True), sock, is_server=True)
        await server.handshake(TlsRejected)
        try:
            heard.append(await server.receive_some())
        except trio.BrokenResourceError:
            pass
        server.close()

    web.bench.dialer.servers[ENDPOINT] = serve
    app = web.dial(VIP)
    await app.send_all(GET)
    assert b" revoked\r\n" in await app.receive_some()
    app.close()
    await wait_all_tasks_blocked()
    assert [(line["code"], "was revoked" in line["detail"]) for line in web.bench.lines] == [(Reason.REVOKED.code, True)]
    assert b"".join(heard) == b""


async def test_t6_a_certificate_that_ends_while_it_is_used(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known, holder = meshed(nursery), svid(root(), WEB)
    known.dialer.servers[APP] = http_app([], OK)
    stream = TlsStream(context(holder, is_server=False), arrive(nursery, known), is_server=False)
    await stream.handshake(NotVerified)
    await stream.send_all(GET)
    assert await read_until(stream, b"ok") == OK
    known.runtime.tls.set(pki.mesh_tls(pki.issue(root(), pki.uri(ORDERS), ends=48 * HOUR), root(), ORDERS))
    known.wall = holder.certificate.not_valid_after_utc.timestamp()
    assert await is_refused(stream, Reason.PEER_NOT_VERIFIED)
    stream.close()
    await wait_all_tasks_blocked()
    assert known.codes[-1] == Reason.PEER_NOT_VERIFIED.code
    assert len(known.dialer.dialled) == 1
