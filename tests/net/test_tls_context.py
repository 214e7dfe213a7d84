"""Who gets through a handshake, asked of real ones: the certificates are wrong in one way each, on either side."""

import base64
import ssl
import tempfile
from datetime import timedelta

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL

from sidecar.model.errors import ConfigError, NotVerified, ReasonedError, TlsRejected
from sidecar.net.tls_context import (
    ALPN_HTTP1,
    ALPN_TCP,
    Context,
    https_client,
    https_server,
    load_certificates,
    origination,
)
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import peer_of
from tests.helpers import pki
from tests.helpers.sockets import tcp_pair
from tests.helpers.tls import shake_hands, tls_pair

ROOT, OTHER_ROOT = pki.authority("root"), pki.authority("other root")
SVIDS_ONLY = x509.NameConstraints([pki.uri(pki.DOMAIN)], [x509.DNSName("")])
INTERMEDIATE = pki.authority("intermediate", ROOT)
CONSTRAINED = pki.authority("constrained", ROOT, SVIDS_ONLY)
NO_CA = pki.issue(ROOT, subject="no CA", signs=True, purposes=())
WEB, ORDERS = pki.uri(pki.WEB), pki.uri(pki.ORDERS)
HOUR = timedelta(hours=1)

GOOD = pki.issue(ROOT, ORDERS)


def mesh_client(holder: pki.Holder, alpn: bytes = ALPN_HTTP1) -> Context:
    return pki.mesh_client(holder, ROOT, alpn)


def mesh_server(holder: pki.Holder) -> Context:
    return pki.mesh_server(holder, ROOT)


async def meet(client: SSL.Context, server: SSL.Context) -> tuple[ReasonedError | None, ReasonedError | None]:
    """What client and server say of each other, chain and SVID."""
    ours, theirs = tls_pair(client, server)
    said = list(await shake_hands(ours, theirs))
    async with ours, theirs:
        for side, (stream, failed) in enumerate(((ours, NotVerified), (theirs, TlsRejected))):
            if said == [None, None] or (said[side] is None and stream.sock.fileno() >= 0):
                try:
                    peer_of(stream.connection, pki.DOMAIN, failed)
                except ReasonedError as exc:
                    said[side] = exc
    return said[0], said[1]


@pytest.mark.parametrize("holder", [
    GOOD, pki.issue(INTERMEDIATE, ORDERS), pki.issue(CONSTRAINED, ORDERS), pki.issue(ROOT, ORDERS, subject="orders", pod_uid="u-1"),
])
@pytest.mark.parametrize("alpn", [ALPN_HTTP1, ALPN_TCP])
async def test_two_sidecars_meet(holder: pki.Holder, alpn: bytes) -> None:
    for client, server in ((holder, GOOD), (GOOD, holder)):
        ours, theirs = tls_pair(mesh_client(client, alpn), mesh_server(server))
        assert await shake_hands(ours, theirs) == (None, None)
        async with ours, theirs:
            assert theirs.connection.get_alpn_proto_negotiated() == ours.connection.get_alpn_proto_negotiated() == alpn
            assert ours.connection.get_protocol_version_name() == "TLSv1.3"
            assert peer_of(ours.connection, pki.DOMAIN, NotVerified).identity == pki.ORDERS
            assert peer_of(theirs.connection, pki.DOMAIN, TlsRejected).identity == pki.ORDERS


WRONG = {
    "another root": pki.issue(OTHER_ROOT, ORDERS),
    "a root of the same name": pki.issue(pki.authority("root"), ORDERS),
    "self-signed": pki.issue(None, ORDERS, subject="orders"),
    "expired": pki.issue(ROOT, ORDERS, begins=-2 * HOUR, ends=-HOUR),
    "not yet": pki.issue(ROOT, ORDERS, begins=HOUR, ends=2 * HOUR),
    "for nothing of TLS": pki.issue(ROOT, ORDERS, purposes=(x509.ObjectIdentifier("1.3.6.1.5.5.7.3.3"),)),
    "signed by no CA": pki.issue(NO_CA, ORDERS),
    "signed by a workload": pki.issue(GOOD, ORDERS),
    "outside the constraint": pki.issue(CONSTRAINED, pki.uri("spiffe://example.net/ns/shop/sa/orders")),
    "a DNS name under the constraint": pki.issue(CONSTRAINED, pki.host("orders.example.org")),
    "a DNS name besides": pki.issue(ROOT, ORDERS, pki.host("orders")),
    "two identities": pki.issue(ROOT, ORDERS, WEB),
    "the same twice": pki.issue(ROOT, ORDERS, ORDERS),
    "another trust domain": pki.issue(ROOT, pki.uri("spiffe://example.net/ns/shop/sa/orders")),
    "a common name alone": pki.issue(ROOT, subject=pki.ORDERS),
    "a DNS name alone": pki.issue(ROOT, pki.host("orders")),
    "a NUL": pki.issue(ROOT, pki.uri(pki.ORDERS + "\0.example.net")),
    "no SPIFFE ID": pki.issue(ROOT, pki.uri("https://example.org/ns/shop/sa/orders")),
    "a CA": pki.issue(ROOT, ORDERS, subject="orders", is_ca=True),
    "a key that signs": pki.issue(ROOT, ORDERS, signs=True),
}
# A certificate for one side only is refused by the other; which side that is depends on the purpose.
ONE_SIDE = {"client": pki.issue(ROOT, ORDERS, purposes=(pki.SERVER,)), "server": pki.issue(ROOT, ORDERS, purposes=(pki.CLIENT,))}


@pytest.mark.parametrize("how", [*WRONG, "for the other side"])
async def test_a_wrong_client_is_refused(how: str) -> None:
    holder = WRONG.get(how) or ONE_SIDE["client"]
    _, said = await meet(mesh_client(holder), mesh_server(GOOD))
    assert isinstance(said, TlsRejected)


@pytest.mark.parametrize("how", [*WRONG, "for the other side"])
async def test_a_wrong_server_is_refused(how: str) -> None:
    holder = WRONG.get(how) or ONE_SIDE["server"]
    said, _ = await meet(mesh_client(GOOD), mesh_server(holder))
    assert isinstance(said, NotVerified)


SHARED = pki.issue(CONSTRAINED, ORDERS)
STRANGE = pki.authority("strange", OTHER_ROOT)
OVER = pki.issue(ROOT, subject="over", is_ca=True, begins=-2 * HOUR, ends=-HOUR)


@pytest.mark.parametrize(("ours", "theirs"), [
    (SHARED, WRONG["outside the constraint"]),
    (SHARED, WRONG["a DNS name under the constraint"]),
    (SHARED, pki.issue(CONSTRAINED, ORDERS, begins=-2 * HOUR, ends=-HOUR)),
    (SHARED, pki.issue(SHARED, ORDERS)),
    (pki.issue(STRANGE, ORDERS), pki.issue(STRANGE, ORDERS)),   # what no root of ours has signed is no end of a chain
    (pki.issue(OVER, ORDERS), pki.issue(OVER, ORDERS)),
])
async def test_an_intermediate_of_our_own_lets_nobody_in_that_a_root_would_not(ours: pki.Holder, theirs: pki.Holder) -> None:
    _, said = await meet(mesh_client(theirs), mesh_server(ours))
    assert isinstance(said, TlsRejected)


async def test_chains_end_at_an_intermediate_of_our_own() -> None:
    """Then the root's signature was not verified: it is not among those that were looked at."""
    ours, theirs = tls_pair(mesh_client(SHARED), mesh_server(SHARED))
    async with ours, theirs:
        assert await shake_hands(ours, theirs) == (None, None)
        for side in (ours, theirs):
            chain = side.connection.get_verified_chain()
            assert chain is not None
            assert [one.to_cryptography() for one in chain] == [SHARED.certificate, CONSTRAINED.certificate]


async def test_the_clients_words_after_a_refusal() -> None:
    """TLS 1.3: the client's handshake succeeds, and the alert comes with the first read."""
    said, _ = await meet(mesh_client(WRONG["another root"]), mesh_server(GOOD))
    assert isinstance(said, NotVerified)
    assert "unknown ca" in str(said)


async def test_a_client_without_certificate() -> None:
    client = https_client([ROOT.certificate])
    client.set_alpn_protos([ALPN_HTTP1])
    ours, theirs = tls_pair(client, mesh_server(GOOD))
    async with ours, theirs:
        _, said = await shake_hands(ours, theirs)
    assert isinstance(said, TlsRejected)
    assert "did not return a certificate" in str(said)


@pytest.mark.parametrize("offered", [[b"h2"], [b"http/1.1"], [b"bartizan/h3", b"h2"], [b"BARTIZAN/H1"]])
async def test_no_protocol_of_the_mesh(offered: list[bytes]) -> None:
    client = mesh_client(GOOD)
    client.set_alpn_protos(offered)
    said = await meet(client, mesh_server(GOOD))
    assert isinstance(said[0], NotVerified)
    assert isinstance(said[1], TlsRejected)
    assert "protocol" in str(said[1])


async def test_no_version_below_1_3_in_the_mesh() -> None:
    client = mesh_client(GOOD)
    client.set_min_proto_version(SSL.TLS1_2_VERSION)
    client.set_max_proto_version(SSL.TLS1_2_VERSION)
    said = await meet(client, mesh_server(GOOD))
    assert isinstance(said[1], TlsRejected)


def test_a_weak_key_is_not_even_loaded() -> None:
    holder = pki.issue(ROOT, pki.host("localhost"), key=pki.weak_key())
    with pytest.raises(SSL.Error, match="too small"):
        https_server(pki.server_credentials(holder))


# -- resumption, as another TLS implementation sees it


LOCALHOST = pki.issue(ROOT, pki.host("localhost"))


@pytest.mark.parametrize(("server", "version"), [
    (https_server(pki.server_credentials(LOCALHOST)), ssl.TLSVersion.TLSv1_2),
    (https_server(pki.server_credentials(LOCALHOST)), ssl.TLSVersion.TLSv1_3),
    (https_server(pki.server_credentials(LOCALHOST, ROOT)), ssl.TLSVersion.TLSv1_3),
    (mesh_server(LOCALHOST), ssl.TLSVersion.TLSv1_3),
])
async def test_nothing_is_resumed(server: SSL.Context, version: ssl.TLSVersion) -> None:
    client = ssl.create_default_context(cadata=pki.pem([ROOT.certificate]))
    client.minimum_version = client.maximum_version = version
    client.set_alpn_protocols([ALPN_HTTP1.decode()])
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(GOOD.chain_pem + GOOD.key_pem)
        file.flush()
        client.load_cert_chain(file.name)

    def ask(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        ours.setblocking(True)
        with client.wrap_socket(ours, server_hostname="localhost", session=session) as stream:
            assert stream.recv(1) == b"!"
            return stream.session, stream.session_reused

    async def greet(stream: TlsStream) -> None:
        await stream.handshake(TlsRejected)
        await stream.send_all(b"!")

    session = None
    for _ in range(2):
        ours, theirs = tcp_pair()
        stream = TlsStream(server, theirs, is_server=True)
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(greet, stream)
            session, reused = await trio.to_thread.run_sync(ask, session)
        assert reused is False


# -- origination


WEBSITE = pki.issue(ROOT, pki.host("api.example.com"))


async def originate(context: SSL.Context, server: SSL.Context) -> tuple[ReasonedError | None, ReasonedError | None]:
    ours, theirs = tls_pair(context, server, server_name="api.example.com")
    said = await shake_hands(ours, theirs)
    ours.close()
    theirs.close()
    return said


def settings(roots: pki.Holder = ROOT, client: pki.Holder | None = None, version: str = "1.2") -> SSL.Context:
    return origination(
        min_version=version, roots=pki.pem([roots.certificate]),
        chain=client.chain_pem if client else None, key=client.key_pem if client else None,
    )


async def test_an_origin_that_verifies() -> None:
    assert await originate(settings(), https_server(pki.server_credentials(WEBSITE))) == (None, None)


@pytest.mark.parametrize("holder", [
    pki.issue(OTHER_ROOT, pki.host("api.example.com")),
    pki.issue(None, pki.host("api.example.com"), subject="self"),
    pki.issue(ROOT, pki.host("api.example.com"), begins=-2 * HOUR, ends=-HOUR),
    pki.issue(ROOT, pki.host("api.example.com"), purposes=(pki.CLIENT,)),
    pki.issue(NO_CA, pki.host("api.example.com")),
])
async def test_an_origin_that_does_not(holder: pki.Holder) -> None:
    said, _ = await originate(settings(), https_server(pki.server_credentials(holder)))
    assert isinstance(said, NotVerified)


async def test_without_roots_the_systems_are_asked() -> None:
    """Which do not know ours."""
    context = origination(min_version="1.2", roots=None, chain=None, key=None)
    said, _ = await originate(context, https_server(pki.server_credentials(WEBSITE)))
    assert isinstance(said, NotVerified)


async def test_mutual() -> None:
    demanding = https_server(pki.server_credentials(WEBSITE, ROOT))
    assert await originate(settings(client=GOOD), demanding) == (None, None)
    said = await originate(settings(), demanding)
    assert isinstance(said[0], NotVerified)
    assert isinstance(said[1], TlsRejected)


@pytest.mark.parametrize(("floor", "version", "is_met"), [
    ("1.2", SSL.TLS1_2_VERSION, True), ("1.3", SSL.TLS1_2_VERSION, False), ("1.3", SSL.TLS1_3_VERSION, True),
    ("1.2", SSL.TLS1_1_VERSION, False),
])
async def test_the_floor(floor: str, version: int, is_met: bool) -> None:
    server = https_server(pki.server_credentials(WEBSITE))
    server.set_min_proto_version(version)
    server.set_max_proto_version(version)
    said, _ = await originate(settings(version=floor), server)
    assert (said is None) is is_met


@pytest.mark.parametrize("suite", [b"AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-SHA", b"ECDHE-ECDSA-AES128-SHA256"])
async def test_no_suite_without_forward_secrecy_or_aead(suite: bytes) -> None:
    server = https_server(pki.server_credentials(WEBSITE))
    server.set_max_proto_version(SSL.TLS1_2_VERSION)
    server.set_cipher_list(suite)
    said, _ = await originate(settings(), server)
    assert isinstance(said, NotVerified)


def pem_of(kind: str, der: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


def of_version_8(certificate: x509.Certificate) -> str:
    der = certificate.public_bytes(Encoding.DER)
    version, other = bytes.fromhex("a003020102"), bytes.fromhex("a003020107")
    assert version in der
    return pem_of("CERTIFICATE", der.replace(version, other, 1))


def on_an_unknown_curve() -> str:
    der = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    p256, unknown = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
    assert p256 in der
    return pem_of("PRIVATE KEY", der.replace(p256, unknown))


ON_AN_UNKNOWN_CURVE = on_an_unknown_curve()


@pytest.mark.parametrize(("changed", "where"), [
    ({"roots": ""}, "roots"),
    ({"roots": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "roots"),
    ({"roots": of_version_8(ROOT.certificate)}, "roots"),
    ({"chain": ""}, "clientCertificate"),
    ({"chain": of_version_8(ROOT.certificate)}, "clientCertificate"),
    ({"key": ON_AN_UNKNOWN_CURVE}, "clientCertificate"),
    ({"chain": "no PEM"}, "clientCertificate"),
    ({"key": ""}, "clientCertificate"),
    ({"key": WEBSITE.key_pem}, "clientCertificate"),
])
def test_unusable_material_is_named(changed: dict[str, str], where: str) -> None:
    material = {"roots": pki.pem([ROOT.certificate]), "chain": GOOD.chain_pem, "key": GOOD.key_pem}
    with pytest.raises(ConfigError) as caught:
        origination(min_version="1.2", **(material | changed))
    assert caught.value.where == where
    assert "PRIVATE" not in str(caught.value)


def test_load_certificates() -> None:
    assert load_certificates(pki.pem([ROOT.certificate, OTHER_ROOT.certificate]).encode(), "roots") == [
        ROOT.certificate, OTHER_ROOT.certificate,
    ]
