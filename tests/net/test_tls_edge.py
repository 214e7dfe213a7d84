"""Which certificate a client gets at the edge, and what it must show itself: real handshakes, by name."""


from collections.abc import Sequence
from datetime import timedelta

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from sidecar.model.client import ClientCertificate
from sidecar.model.edge import ClientCertificates, Edge, EdgeListener, TlsHost
from sidecar.model.errors import ClientTlsRejected, NotVerified, ReasonedError, Unavailable
from sidecar.model.reason import Reason
from sidecar.net.tls_edge import EdgeHosts, Served
from sidecar.net.tls_stream import TlsStream
from tests.helpers import pki
from tests.helpers.sockets import tcp_pair

ROOT, CLIENTS = pki.authority("public"), pki.authority("clients")
PORT = 443
ASKS = ClientCertificates(pki.pem([CLIENTS.certificate]), name="shop/partners")
BY_NAME = {name: pki.issue(ROOT, pki.host(name)) for name in ("a.example", "w.example", "d.example", "any.example")}
RSA = pki.issue(ROOT, pki.host("rsa.example"), key=rsa.generate_private_key(65537, 2048))


def tls_host(
    name: str, *hosts: str, holder: pki.Holder | None = None, clients: ClientCertificates | None = None, least: str = "1.2"
) -> TlsHost:
    holder = holder or BY_NAME[name]
    return TlsHost(f"shop/{name}", hosts, holder.chain_pem, holder.key_pem, clients, "1.3" if least == "1.3" else "1.2")


def of(*hosts: TlsHost, earlier: EdgeHosts | None = None) -> EdgeHosts:
    return (earlier or EdgeHosts()).follow(Edge((EdgeListener(PORT, hosts), EdgeListener(80))))


EXACT, WILD = tls_host("a.example", "a.example", "x.a.example"), tls_host("w.example", "*.a.example")
DEEP, ANY = tls_host("d.example", "**.a.example", "**.b.a.example"), tls_host("any.example")


def client(
    *, least: int = SSL.TLS1_2_VERSION, most: int = 0, alpn: Sequence[bytes] = (b"h2", b"http/1.1"), ciphers: bytes = b"", groups: str = "",
    holder: pki.Holder | None = None,
) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(least)
    context.set_max_proto_version(most)
    if alpn:
        context.set_alpn_protos(list(alpn))
    if ciphers:
        context.set_cipher_list(ciphers)
    if groups:
        assert SSL._lib.SSL_CTX_set1_curves_list(context._context, groups.encode()) == 1
    if holder is not None:
        context.use_certificate(holder.certificate)
        context.use_privatekey(holder.key)
    return context


async def meet(
    served: Served, context: SSL.Context, name: str | None = "a.example", *, session: SSL.Session | None = None
) -> tuple[TlsStream, TlsStream, ClientCertificate | None]:
    """The client's end, ours, and what it has proved; or what one of them said of the other."""
    ours, theirs = tcp_pair()
    asking = TlsStream(context, ours, is_server=False, server_name=name)
    if session is not None:
        asking.connection.set_session(session)
    serving = TlsStream(served.context(), theirs, is_server=True)
    failed: list[ReasonedError] = []

    async def ask() -> None:
        try:
            await asking.handshake(NotVerified)
        except NotVerified as exc:
            failed.append(exc)
            asking.close()

    async def serve() -> None:
        try:
            await serving.handshake(ClientTlsRejected)
        except ClientTlsRejected as exc:
            failed.append(exc)
            serving.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(serve)
    if failed:
        asking.close()
        serving.close()
        raise next((exc for exc in failed if isinstance(exc, ClientTlsRejected)), failed[0])
    return asking, serving, served.client_certificate(serving, name)


async def shown(served: Served | None, context: SSL.Context | None = None, name: str | None = "a.example") -> x509.Certificate:
    assert served is not None
    asking, serving, _ = await meet(served, context or client(), name)
    with asking.sock, serving.sock:
        certificate = asking.connection.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return certificate


# -- which one


@pytest.mark.parametrize(("name", "expected"), [
    ("a.example", "a.example"), ("x.a.example", "a.example"), ("y.a.example", "w.example"), ("z.y.a.example", "d.example"),
    ("b.a.example", "w.example"), ("c.b.a.example", "d.example"), ("example", "any.example"), ("other.example", "any.example"),
    ("xa.example", "any.example"), (None, "any.example"),
])
async def test_the_most_specific_name_decides(name: str | None, expected: str) -> None:
    for hosts in (of(EXACT, WILD, DEEP, ANY), of(ANY, DEEP, WILD, EXACT)):
        assert await shown(hosts.find(PORT, name), name=name) == BY_NAME[expected].certificate


@pytest.mark.parametrize("name", ["example", "other.example", "aa.example", "x.y.a.example", None])
def test_whom_nobody_named_nobody_gets(name: str | None) -> None:
    hosts = of(EXACT, WILD)
    assert hosts.find(PORT, name) is None
    assert hosts.find(80, "a.example") is None
    assert hosts.find(8443, "a.example") is None
    assert (hosts.speaks_tls(PORT), hosts.speaks_tls(80)) == (True, False)


@pytest.mark.parametrize(("host", "words"), [
    (TlsHost("shop/gone", ("a.example",)), "the Secret shop/gone: it is missing"),
    (TlsHost("shop/half", ("a.example",), EXACT.chain), "it is missing"),
    (TlsHost("shop/odd", ("a.example",), EXACT.chain, DEEP.key), "cannot be used together"),
    (TlsHost("shop/bad", ("a.example",), "no PEM", EXACT.key), "holds no certificate"),
    (TlsHost("shop/bad", ("a.example",), EXACT.chain, "no PEM"), "no usable private key"),
    (TlsHost("shop/bad", ("a.example",), EXACT.chain, EXACT.key, ClientCertificates("no PEM")), "clientCertificates"),
])
def test_what_cannot_be_used_is_refused_and_replaced_by_nothing(host: TlsHost, words: str) -> None:
    served = of(host, ANY).find(PORT, "a.example")
    assert served is not None
    for _ in range(2):
        with pytest.raises(Unavailable, match=words) as info:
            served.context()
        assert info.value.reason is Reason.CERTIFICATE_UNUSABLE


def test_only_what_changed_is_built_anew() -> None:
    before = of(EXACT, WILD, TlsHost("shop/gone", ("c.example",)))
    contexts = {name: before.find(PORT, name).context() for name in ("a.example", "y.a.example")}      # type: ignore[union-attr]
    renewed = tls_host("w.example", "*.a.example", holder=pki.issue(ROOT, pki.host("w.example")))
    after = of(ANY, replace_hosts(EXACT, "a.example", "new.example"), renewed, TlsHost("shop/gone", ("c.example",)), earlier=before)
    for name in ("a.example", "new.example"):
        assert after.find(PORT, name).context() is contexts["a.example"]                                # type: ignore[union-attr]
    assert after.find(PORT, "y.a.example").context() is not contexts["y.a.example"]                     # type: ignore[union-attr]
    assert of(earlier=after).find(PORT, "a.example") is None


def replace_hosts(host: TlsHost, *names: str) -> TlsHost:
    return TlsHost(host.name, names, host.chain, host.key, host.clients, host.min_version)


def test_ten_thousand_hosts_are_ten_thousand_names_and_one_context() -> None:
    hosts = of(*(TlsHost("shop/all", (f"h{i}.example",), EXACT.chain, EXACT.key) for i in range(10_000)))
    first, last = hosts.find(PORT, "h0.example"), hosts.find(PORT, "h9999.example")
    assert first is last is not None


async def test_a_second_hello_cannot_ask_for_another_name() -> None:
    served = of(EXACT, ANY).find(PORT, "a.example")
    assert served is not None
    ours, theirs = tcp_pair()
    asking = TlsStream(client(), ours, is_server=False, server_name="other.example")
    serving = TlsStream(served.context(), theirs, is_server=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asking.handshake, NotVerified)
        nursery.start_soon(serving.handshake, ClientTlsRejected)
    with ours, theirs:
        for name in ("a.example", None):
            with pytest.raises(ClientTlsRejected, match="not that of its first hello"):
                served.client_certificate(serving, name)
        assert served.client_certificate(serving, "other.example") is None


# -- the profile


@pytest.mark.parametrize("holder", [EXACT, tls_host("rsa.example", "a.example", holder=RSA)])
@pytest.mark.parametrize("suite", [b"AES128-GCM-SHA256", b"AES256-GCM-SHA384", b"CHACHA20-POLY1305"])
async def test_the_suites_of_tls_1_2(holder: TlsHost, suite: bytes) -> None:
    kind = b"ECDHE-RSA-" if "rsa" in holder.name else b"ECDHE-ECDSA-"
    served = of(holder).find(PORT, "a.example")
    assert served is not None
    asking, serving, _ = await meet(served, client(most=SSL.TLS1_2_VERSION, ciphers=kind + suite))
    with asking.sock, serving.sock:
        assert (asking.connection.get_cipher_name() or "").encode() == kind + suite


OLD_SUITES = (b"AES128-GCM-SHA256", b"ECDHE-RSA-AES128-SHA256", b"ECDHE-RSA-AES256-SHA", b"DHE-RSA-AES128-GCM-SHA256",
              b"AES256-SHA", b"aNULL")


@pytest.mark.parametrize(("least", "most", "ciphers"), [
    (SSL.TLS1_VERSION, SSL.TLS1_VERSION, b"ALL:@SECLEVEL=0"), (SSL.TLS1_1_VERSION, SSL.TLS1_1_VERSION, b"ALL:@SECLEVEL=0"),
    *((SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION, suite + b":@SECLEVEL=0") for suite in OLD_SUITES),
])
async def test_what_is_older_is_refused(least: int, most: int, ciphers: bytes) -> None:
    served = of(tls_host("rsa.example", "a.example", holder=RSA)).find(PORT, "a.example")
    assert served is not None
    with pytest.raises(ClientTlsRejected):
        await meet(served, client(least=least, most=most, ciphers=ciphers))


@pytest.mark.parametrize("least", ["1.2", "1.3"])
async def test_the_least_version(least: str) -> None:
    served = of(tls_host("a.example", "a.example", least=least)).find(PORT, "a.example")
    assert served is not None
    await shown(served)
    if least == "1.3":
        with pytest.raises(ClientTlsRejected, match="unsupported protocol"):
            await meet(served, client(most=SSL.TLS1_2_VERSION))


@pytest.mark.parametrize(("group", "is_taken"), [
    ("X25519", True), ("P-256", True), ("P-384", True), ("P-521", False), ("X448", False), ("ffdhe2048", False),
])
async def test_the_groups(group: str, is_taken: bool) -> None:
    served = of(EXACT).find(PORT, "a.example")
    assert served is not None
    if is_taken:
        await shown(served, client(groups=group))
    else:
        with pytest.raises(ClientTlsRejected):
            await meet(served, client(groups=group))


async def test_the_client_chooses_among_good_suites() -> None:
    """Server preference off: a telephone without AES instructions gets the suite that is quick there."""
    served = of(EXACT).find(PORT, "a.example")
    assert served is not None
    one, other = b"ECDHE-ECDSA-CHACHA20-POLY1305", b"ECDHE-ECDSA-AES256-GCM-SHA384"
    for suites in (one + b":" + other, other + b":" + one):
        asking, serving, _ = await meet(served, client(most=SSL.TLS1_2_VERSION, ciphers=suites))
        with asking.sock, serving.sock:
            assert (asking.connection.get_cipher_name() or "").encode() == suites.partition(b":")[0]


async def test_no_renegotiation() -> None:
    served = of(EXACT).find(PORT, "a.example")
    assert served is not None
    asking, serving, _ = await meet(served, client(most=SSL.TLS1_2_VERSION))
    with asking.sock, serving.sock:
        assert asking.connection.renegotiate()
        with pytest.raises(SSL.WantReadError):
            asking.connection.do_handshake()
        with pytest.raises(SSL.WantReadError):
            serving.connection.recv(1)
        with pytest.raises(SSL.Error, match="no renegotiation"):
            asking.connection.do_handshake()


@pytest.mark.parametrize(("offered", "spoken"), [
    ((b"h2", b"http/1.1"), b"h2"), ((b"http/1.1", b"h2"), b"h2"), ((b"http/1.1",), b"http/1.1"),
    ((b"spdy/3", b"http/1.1"), b"http/1.1"), ((), b""),
])
async def test_what_flows_inside(offered: tuple[bytes, ...], spoken: bytes) -> None:
    served = of(EXACT).find(PORT, "a.example")
    assert served is not None
    asking, serving, _ = await meet(served, client(alpn=offered))
    with asking.sock, serving.sock:
        assert serving.connection.get_alpn_proto_negotiated() == asking.connection.get_alpn_proto_negotiated() == spoken


async def test_another_protocols_client_is_refused() -> None:
    served = of(EXACT).find(PORT, "a.example")
    assert served is not None
    with pytest.raises(ClientTlsRejected, match="neither h2 nor"):
        await meet(served, client(alpn=(b"ftp",)))


# -- sessions


async def resumed(first: Served, second: Served, context: SSL.Context) -> bool:
    """Whether what the first connection was given a ticket for is gone on with in the second."""
    asking, serving, _ = await meet(first, context)
    await serving.send_all(b"!")
    await asking.receive_some(1)
    session = asking.connection.get_session()
    with asking.sock, serving.sock:
        pass
    assert session is not None
    asking, serving, _ = await meet(second, context, session=session)
    with asking.sock, serving.sock:
        return bool(SSL._lib.SSL_session_reused(asking.connection._ssl))


@pytest.mark.parametrize("most", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
async def test_a_session_is_resumed_under_the_same_certificate_only(most: int) -> None:
    hosts = of(EXACT, ANY)
    same, other = hosts.find(PORT, "a.example"), hosts.find(PORT, None)
    asks = of(tls_host("a.example", "a.example", clients=replace_mode(ASKS, is_required=False))).find(PORT, "a.example")
    assert same is not None
    assert other is not None
    assert asks is not None
    context = client(most=most)
    assert await resumed(same, same, context)
    assert not await resumed(same, other, context)
    assert not await resumed(asks, asks, client(most=most, holder=pki.issue(CLIENTS, subject="ann")))
    assert not await resumed(same, asks, context)


def replace_mode(clients: ClientCertificates, *, is_required: bool) -> ClientCertificates:
    return ClientCertificates(clients.roots, is_required, clients.name)


# -- client certificates


ANN = pki.issue(
    CLIENTS, pki.host("ann.example"), x509.RFC822Name("ann@example.org"), pki.uri("urn:ann"), subject="ann", purposes=(pki.CLIENT,))


async def test_what_a_client_proves() -> None:
    for is_required in (True, False):
        served = of(tls_host("a.example", "a.example", clients=replace_mode(ASKS, is_required=is_required))).find(PORT, "a.example")
        assert served is not None
        asking, serving, proved = await meet(served, client(holder=ANN))
        with asking.sock, serving.sock:
            fingerprint = ANN.certificate.fingerprint(pki.hashes.SHA256()).hex()
            assert proved == ClientCertificate(
                "CN=ann", "ann", ("ann.example",), ("ann@example.org",), ("urn:ann",), fingerprint,
                ANN.certificate.not_valid_after_utc.timestamp(), "shop/partners",
            )


@pytest.mark.parametrize("holder", [
    pki.issue(pki.authority("clients"), subject="ann"), pki.issue(None, subject="ann"),
    pki.issue(CLIENTS, subject="ann", purposes=(pki.SERVER,)),
    pki.issue(CLIENTS, subject="ann", begins=timedelta(hours=-2), ends=timedelta(hours=-1)), pki.issue(ANN, subject="eve"),
    pki.issue(CLIENTS, subject="ann", begins=timedelta(hours=1), ends=timedelta(hours=2)), None,
])
@pytest.mark.parametrize("is_required", [True, False])
async def test_who_proves_nothing(holder: pki.Holder | None, is_required: bool) -> None:
    """A wrong certificate is refused also where one need not be shown: who shows it believes to be somebody."""
    served = of(tls_host("a.example", "a.example", clients=replace_mode(ASKS, is_required=is_required))).find(PORT, "a.example")
    assert served is not None
    if holder is None and not is_required:
        asking, serving, proved = await meet(served, client())
        with asking.sock, serving.sock:
            assert proved is None
    else:
        with pytest.raises(ClientTlsRejected):
            await meet(served, client(holder=holder))


async def test_nobody_is_asked_where_nobody_reads_it() -> None:
    served = of(EXACT).find(PORT, "a.example")
    assert served is not None
    asking, serving, proved = await meet(served, client(holder=ANN))
    with asking.sock, serving.sock:
        assert proved is None
        assert serving.connection.get_peer_certificate() is None


def test_who_asks_for_the_same() -> None:
    hosts = of(EXACT, ANY, tls_host("w.example", "w.example", clients=ASKS), tls_host("d.example", "d.example", least="1.3"))
    plain, other, asks, strict = (hosts.find(PORT, name) for name in ("a.example", None, "w.example", "d.example"))
    assert plain is not None
    assert plain.asks_as(plain)
    assert plain.asks_as(other)
    assert not plain.asks_as(asks)
    assert not plain.asks_as(strict)
    assert not plain.asks_as(None)
