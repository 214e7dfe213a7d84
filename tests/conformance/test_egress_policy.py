"""Each field of an EgressPolicy, and of what asks for it: from the manifests, through the snapshot, to a request that leaves or does not.

Every field has a line that is let through and one that is not, and what is not sends nothing.
"""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from trio.testing import MockClock, wait_all_tasks_blocked

from injector.cluster import Cluster
from injector.cluster.directory import derived_slices
from injector.compile import compile_workload
from injector.compile.last_good import LastGood
from injector.documents import (
    ApprovedHost,
    ApprovedRange,
    EgressPolicySpec,
    GatewayService,
    HostPorts,
    HostRequest,
    PolicyWaiver,
    RangeRequest,
    SecretRef,
    Subject,
    TlsRequest,
)
from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.errors import NotVerified
from sidecar.model.snapshot import parse_snapshot, render_snapshot
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import https_client
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from tests.helpers import gateway as by_gateway
from tests.helpers import pki
from tests.helpers.exchange import OK
from tests.helpers.leave import Pod, https, partner, pod
from tests.helpers.mesh import root
from tests.helpers.runtime import POD, Serve
from tests.injector.pods import egress_policy, mesh_policy, namespace

HOST = "api.partner.example"
SERVER = "203.0.113.80"
ROOTS = pki.pem([root("public").certificate])
CLIENT = pki.issue(root("clients"), subject="shop", purposes=[pki.CLIENT])
EXPIRED = pki.issue(root("public"), pki.host(HOST), begins=-2 * pki.HOUR, ends=-pki.HOUR / 2)
STRANGER = partner(HOST, authority="stranger")
OTHER_NAME = partner("b.partner.example")
PARTNER = partner(HOST, "b.partner.example")
TO_COME, GONE_BY = "2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
GATEWAY = {"namespace": "gateways", "service": "egress"}


def pin(holder: pki.Holder) -> str:
    key = holder.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256/" + b64encode(sha256(key).digest()).decode()


def waiver(check: str, until: str = TO_COME) -> list[dict[str, str]]:
    return [{"check": check, "until": until, "reason": "until they have a new one"}]


@dataclass(frozen=True)
class Case:
    """
    Args:
        field: what the case is about.
        spec: of the policy, besides the one host that it approves; or instead of it.
        entry: of that host, besides its name and roots.
        asked: the annotation's entry, besides the host; or without one.
        how: the attempt: GET PORT [METHOD PATH BYTES], TLS PORT, TCP PORT [NAME], BYTES PORT.
        code: why it is refused; empty: it is let through.
        holder: the host's certificate.
        other: of the world, see `world`.
    """

    field: str
    entry: dict[str, Any]
    asked: dict[str, Any]
    how: str
    code: str = ""
    spec: dict[str, Any] | None = None
    holder: pki.Holder = PARTNER
    other: tuple[str, ...] = ()


PLAIN = "GET 80"
TCP = {"protocol": "tcp", "ports": {"tcp": [5432]}}
TCP_ENTRY = {"protocols": ["tcp"], "ports": [5432]}
MUTUAL = {"tls": {"mode": "mutual", "clientCertificate": {"secret": "partner"}}}
ELSEWHERE = {"ports": {"plain": [8080]}}
BARE = {"tls": {"mode": "none"}}
RANGE = {"ranges": [{"cidr": "203.0.113.0/24"}]}
FAR = {"cidr": "203.0.113.0/24"}


def _approved_hosts() -> Iterator[Case]:
    yield Case("ApprovedHost.host", {}, {}, PLAIN)
    yield Case("ApprovedHost.host", {"host": "*.partner.example"}, {}, PLAIN)
    yield Case("ApprovedHost.host", {"host": "*.api.partner.example"}, {}, PLAIN, "BZ0201")
    yield Case("ApprovedHost.host", {"host": "b.partner.example"}, {}, PLAIN, "BZ0201")
    yield Case("ApprovedHost.ports", {"ports": [443, 8080]}, ELSEWHERE, "GET 8080")
    yield Case("ApprovedHost.ports", {"ports": [443, 80]}, ELSEWHERE, "GET 8080", "BZ0201")
    yield Case("ApprovedHost.protocols", {"protocols": ["http", "tls"]}, {}, "TLS 443")
    yield Case("ApprovedHost.protocols", {"protocols": ["http"]}, {}, PLAIN)
    yield Case("ApprovedHost.protocols", {"protocols": ["http"]}, {}, "TLS 443", "BZ0201")
    yield Case("ApprovedHost.protocols", TCP_ENTRY, TCP, "TCP 5432")
    yield Case("ApprovedHost.protocols", {"ports": [5432]}, TCP, "TCP 5432", "BZ0201")
    yield Case("ApprovedHost.min_version", {"minVersion": "1.2"}, {}, PLAIN, other=("old",))
    yield Case("ApprovedHost.min_version", {"minVersion": "1.3"}, {}, PLAIN, "BZ0206", other=("old",))
    yield Case("ApprovedHost.ca_bundle", {}, {}, PLAIN, "BZ0206", holder=STRANGER)
    yield Case("ApprovedHost.ca_bundle", {"caBundle": pki.pem([root("stranger").certificate])}, {}, PLAIN, holder=STRANGER)
    yield Case("ApprovedHost.subject_alt_names", {"subjectAltNames": ["b.partner.example"]}, {}, PLAIN)
    yield Case("ApprovedHost.subject_alt_names", {"subjectAltNames": ["c.partner.example"]}, {}, PLAIN, "BZ0206")
    yield Case("ApprovedHost.subject_alt_names", {"subjectAltNames": ["b.partner.example"]}, {}, "TLS 443", "BZ0201")
    yield Case("ApprovedHost.key_pins", {"keyPins": [pin(PARTNER)]}, {}, PLAIN)
    yield Case("ApprovedHost.key_pins", {"keyPins": [pin(root("public"))]}, {}, PLAIN)
    yield Case("ApprovedHost.key_pins", {"keyPins": [pin(STRANGER)]}, {}, PLAIN, "BZ0206")
    yield Case("ApprovedHost.key_pins", {**TCP_ENTRY, "keyPins": [pin(STRANGER)]}, TCP, "TCP 5432", "BZ0206")
    yield Case("ApprovedHost.client_certificate", {"clientCertificate": {"secret": "partner"}}, {}, PLAIN, other=("demands",))
    yield Case("ApprovedHost.client_certificate", {}, {}, PLAIN, "BZ0403", other=("demands",))
    yield Case("ApprovedHost.client_certificate", {"clientCertificate": {"secret": "nobodys"}}, {}, PLAIN, "BZ0203", other=("demands",))
    yield Case("ApprovedHost.special_addresses", {"specialAddresses": ["10.9.0.0/24"]}, {}, PLAIN, other=("within",))
    yield Case("ApprovedHost.special_addresses", {"specialAddresses": ["10.8.0.0/24"]}, {}, PLAIN, "BZ0204", other=("within",))
    yield Case("ApprovedHost.special_addresses", {**TCP_ENTRY}, TCP, "TCP 5432", "BZ0204", other=("within",))
    yield Case("ApprovedHost.methods", {"methods": ["PUT"]}, {}, "GET 80 PUT /a 3")
    yield Case("ApprovedHost.methods", {"methods": ["PUT"]}, {}, PLAIN, "BZ0210")
    yield Case("ApprovedHost.methods", {"methods": ["PUT"]}, {}, "TLS 443", "BZ0201")
    yield Case("ApprovedHost.paths", {"paths": ["/v1"]}, {}, "GET 80 GET /v1/a 0")
    yield Case("ApprovedHost.paths", {"paths": ["/v1"]}, {}, "GET 80 GET /v10 0", "BZ0210")
    yield Case("ApprovedHost.paths", {"paths": ["/v1"]}, {}, "GET 80 GET /v1/%2e%2e/admin 0", "BZ0304")
    yield Case("ApprovedHost.bytes_per_hour", {"bytesPerHour": "2Ki"}, {}, "GET 80 POST /a 1000")
    yield Case("ApprovedHost.bytes_per_hour", {"bytesPerHour": "1Ki"}, {}, "GET 80 POST /a 1024", "BZ0209")
    yield Case("ApprovedHost.allow_plaintext", {"allowPlaintext": True}, BARE, PLAIN, other=("bare",))
    yield Case("ApprovedHost.allow_plaintext", {}, BARE, PLAIN, "BZ0201", other=("bare",))
    yield Case("ApprovedHost.waivers", {"waivers": waiver("expiry")}, {}, PLAIN, holder=EXPIRED)
    yield Case("ApprovedHost.waivers", {}, {}, PLAIN, "BZ0206", holder=EXPIRED)
    yield Case("PolicyWaiver.check", {"waivers": waiver("chain"), "keyPins": [pin(STRANGER)]}, {}, PLAIN, holder=STRANGER)
    yield Case("PolicyWaiver.check", {"waivers": waiver("expiry"), "keyPins": [pin(STRANGER)]}, {}, PLAIN, "BZ0206", holder=STRANGER)
    names = {"subjectAltNames": ["b.partner.example"]}
    yield Case("PolicyWaiver.check", {"waivers": waiver("name"), **names}, {}, PLAIN, holder=OTHER_NAME)
    yield Case("PolicyWaiver.check", {"waivers": waiver("expiry"), **names}, {}, PLAIN, "BZ0206", holder=OTHER_NAME)
    yield Case("PolicyWaiver.until", {"waivers": waiver("expiry")}, {}, PLAIN, holder=EXPIRED)
    yield Case("PolicyWaiver.until", {"waivers": waiver("expiry", GONE_BY)}, {}, PLAIN, "BZ0206", holder=EXPIRED)
    yield Case("ApprovedHost.gateway", {"gateway": GATEWAY}, {}, PLAIN, other=("gateway",))
    yield Case("ApprovedHost.gateway", {"gateway": GATEWAY}, {}, PLAIN, "BZ0214")
    yield Case("ApprovedHost.gateway", {"gateway": GATEWAY}, {}, PLAIN, "BZ0214", other=("gateway", "gone"))
    yield Case("GatewayService.namespace", {"gateway": {**GATEWAY, "namespace": "shop"}}, {}, PLAIN, "BZ0214", other=("gateway",))
    yield Case("GatewayService.service", {"gateway": {**GATEWAY, "service": "other"}}, {}, PLAIN, "BZ0214", other=("gateway",))
    yield Case("GatewayService.port", {"gateway": {**GATEWAY, "port": 443}}, {}, "TLS 443", other=("gateway",))
    yield Case("GatewayService.port", {"gateway": {**GATEWAY, "port": 444}}, {}, "TLS 443", "BZ0214", other=("gateway",))


def _the_rest() -> Iterator[Case]:
    yield Case("ApprovedRange.cidr", {}, FAR, "BYTES 5432", spec=RANGE)
    yield Case("ApprovedRange.cidr", {}, FAR, "BYTES 5432", "BZ0202", spec={"ranges": [{"cidr": "203.0.113.0/25"}]})
    yield Case("ApprovedRange.ports", {}, FAR | {"ports": [5432]}, "BYTES 5432", spec={"ranges": [FAR | {"ports": [5432, 5433]}]})
    yield Case("ApprovedRange.ports", {}, FAR | {"ports": [5432]}, "BYTES 5432", "BZ0202", spec={"ranges": [FAR | {"ports": [5433]}]})
    yield Case("ApprovedRange.ports", {}, FAR, "BYTES 5432", "BZ0202", spec={"ranges": [FAR | {"ports": [5432]}]})
    yield Case("ApprovedRange.bytes_per_hour", {}, FAR, "BYTES 5432 1000", spec={"ranges": [FAR | {"bytesPerHour": "1Ki"}]})
    yield Case("ApprovedRange.bytes_per_hour", {}, FAR, "BYTES 5432 2000", "BZ0209", spec={"ranges": [FAR | {"bytesPerHour": "1Ki"}]})
    by = {"ranges": [FAR | {"gateway": GATEWAY}]}
    yield Case("ApprovedRange.gateway", {}, FAR, "BYTES 5432", spec=by, other=("gateway",))
    yield Case("ApprovedRange.gateway", {}, FAR, "BYTES 5432", "BZ0214", spec=by)
    yield Case("RangeRequest.cidr", {}, {"cidr": "203.0.113.80/32"}, "BYTES 5432", spec=RANGE)
    yield Case("RangeRequest.cidr", {}, {"cidr": "203.0.113.81/32"}, "BYTES 5432", "BZ0202", spec=RANGE)
    yield Case("RangeRequest.ports", {}, FAR | {"ports": [5432]}, "BYTES 5432", spec=RANGE)
    yield Case("RangeRequest.ports", {}, FAR | {"ports": [5433]}, "BYTES 5432", "BZ0202", spec=RANGE)
    yield Case("RangeRequest.protocol", {}, FAR | {"protocol": "tcp"}, "BYTES 5432", spec=RANGE)
    yield Case("RangeRequest.protocol", {}, FAR | {"protocol": "udp"}, "BYTES 5432", "BZ0202", spec=RANGE)
    yield Case("EgressPolicySpec.hosts", {}, {}, PLAIN, "BZ0201", spec={"hosts": []})
    yield Case("EgressPolicySpec.hosts", {}, {}, PLAIN)
    yield Case("EgressPolicySpec.ranges", {}, FAR, "BYTES 5432", "BZ0202")
    yield Case("EgressPolicySpec.ranges", {}, FAR, "BYTES 5432", spec=RANGE)
    yield Case("EgressPolicySpec.gateway", {}, {}, PLAIN, spec={"gateway": GATEWAY}, other=("gateway",))
    yield Case("EgressPolicySpec.gateway", {}, {}, PLAIN, "BZ0214", spec={"gateway": GATEWAY})
    subjects = (
        ("Subject.namespace", [{"namespace": "shop"}], [{"namespace": "other"}]),
        ("Subject.namespace_selector", [{"namespaceSelector": {"matchLabels": {"bartizan.dev/injection": "enabled"}}}],
         [{"namespaceSelector": {"matchLabels": {"bartizan.dev/injection": "enabled", "team": "b"}}}]),
        ("Subject.service_accounts", [{"namespace": "shop", "serviceAccounts": ["api", "web"]}],
         [{"namespace": "shop", "serviceAccounts": ["api"]}]),
        ("EgressPolicySpec.subjects", [{"namespace": "other"}, {"namespace": "shop"}], []),
    )
    for field, meant, not_meant in subjects:
        yield Case(field, {}, {}, PLAIN, spec={"subjects": meant})
        yield Case(field, {}, {}, PLAIN, "BZ0201", spec={"subjects": not_meant})
    wild = {"host": "*.partner.example"}
    yield Case("HostRequest.host", wild, {"host": "*.partner.example"}, PLAIN)
    yield Case("HostRequest.host", wild, {"host": "b.partner.example"}, PLAIN, "BZ0201")
    yield Case("HostRequest.protocol", {}, {"protocol": "tls"}, "TLS 443")
    yield Case("HostRequest.protocol", {}, {"protocol": "tls"}, PLAIN, "BZ0201")
    yield Case("HostRequest.protocol", {}, {"protocol": "http"}, "TCP 5432", "BZ0201")
    yield Case("HostRequest.ports", {"ports": [443, 8080]}, ELSEWHERE, "GET 8080")
    yield Case("HostRequest.ports", {"ports": [80, 443, 8080]}, ELSEWHERE, PLAIN, "BZ0201")
    yield Case("HostRequest.tls", {}, {"tls": {}}, PLAIN)
    yield Case("HostRequest.tls", {}, {"tls": {"verify": False}}, PLAIN, "BZ0215", holder=STRANGER)
    yield Case("TlsRequest.mode", {}, {"tls": {"mode": "simple"}}, PLAIN)
    yield Case("TlsRequest.mode", {}, {"tls": {"mode": "simple"}}, PLAIN, "BZ0206", other=("bare",))
    yield Case("TlsRequest.mode", {}, {"tls": {"mode": "mutual"}}, PLAIN, "BZ0201")
    yield Case("TlsRequest.port", {"ports": [80, 8443]}, {"tls": {"port": 8443}, "ports": {"tls": []}}, PLAIN, other=("8443 alone",))
    yield Case("TlsRequest.port", {}, {"tls": {"port": 8443}}, PLAIN, "BZ0201")
    yield Case("TlsRequest.min_version", {}, {"tls": {"minVersion": "1.3"}}, PLAIN)
    yield Case("TlsRequest.min_version", {}, {"tls": {"minVersion": "1.3"}}, PLAIN, "BZ0206", other=("old",))
    yield Case("TlsRequest.client_certificate", {}, MUTUAL, PLAIN, other=("demands",))
    nobodys = {"tls": {"mode": "mutual", "clientCertificate": {"secret": "nobodys"}}}
    yield Case("TlsRequest.client_certificate", {}, nobodys, PLAIN, "BZ0203")
    yield Case("SecretRef.secret", {}, MUTUAL, PLAIN, other=("demands",))
    yield Case("SecretRef.secret", {}, MUTUAL, PLAIN, "BZ0203", other=("without a secret",))
    yield Case("SecretRef.secret", {}, MUTUAL, PLAIN, "BZ0203", other=("without a key",))
    words = {"tls": {"startTls": "postgres"}}
    yield Case("TlsRequest.start_tls", TCP_ENTRY, {**TCP, **words}, "POSTGRES 5432", other=("postgres",))
    yield Case("TlsRequest.start_tls", TCP_ENTRY, {**TCP, **words}, "POSTGRES 5432", "BZ0213", other=("postgres", "without TLS"))
    for kind, how, in_way in (("plain", "GET {}", "http"), ("tls", "TLS {}", "tls"), ("tcp", "TCP {}", "tcp")):
        entry = {"protocols": ["http", "tls", "tcp"], "ports": [80, 443, 5432, 8080, 8443]}
        asked = {"protocol": in_way, "ports": {kind: [8080]}}
        yield Case(f"HostPorts.{kind}", entry, asked, how.format(8080))
        yield Case(f"HostPorts.{kind}", entry, asked, how.format(5432), "BZ0201")


CASES = (*_approved_hosts(), *_the_rest())


def postgres(serve: Serve, *, has_tls: bool) -> Serve:
    async def begin(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        asked = await stream.receive_some()
        assert asked == bytes.fromhex("0000000804d2162f"), "SSLRequest, and no byte of the application's"
        await stream.send_all(b"S" if has_tls else b"N")
        if has_tls:
            await serve(sock)

    return begin


def answering(heard: list[bytes]) -> Serve:
    """HTTP or anything: answers what is whole, and keeps all that it hears."""
    async def serve(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        try:
            while piece := await stream.receive_some():
                heard.append(piece)
                await stream.send_all(OK)
        except trio.BrokenResourceError:
            pass

    return serve


def manifests(case: Case) -> list[dict[str, Any]]:
    asked = case.asked if "cidr" in case.asked else {"host": HOST} | case.asked
    spec = {"hosts": [{"host": HOST, "caBundle": ROOTS} | case.entry]} | (case.spec or {})
    web = {
        "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "uid": "web", "labels": {"app": "web"},
                                    "annotations": {"bartizan.dev/egress": json.dumps([asked])}},
        "spec": {"serviceAccountName": "web", "initContainers": [{"name": "bartizan-sidecar"}], "containers": [{"name": "app"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": POD}]},
    }
    found = [namespace(), namespace("gateways"), mesh_policy(resolvers=["10.96.0.10"]), egress_policy(**spec), web]
    if "without a secret" not in case.other:
        parts = {"tls.crt": CLIENT.chain_pem} | ({} if "without a key" in case.other else {"tls.key": CLIENT.key_pem})
        found.append({"kind": "Secret", "metadata": {"name": "partner", "namespace": "shop"}, "stringData": parts})
    if "gateway" in case.other:
        found += [
            {"kind": "Pod", "metadata": {"name": "gate", "namespace": "gateways", "uid": "gate", "labels": {"app": "egress"}},
             "spec": {"serviceAccountName": "egress", "initContainers": [{"name": "bartizan-sidecar"}], "containers": [{"name": "app"}]},
             "status": {"phase": "Running", "podIPs": [{"ip": by_gateway.AT.host}]}},
            {"kind": "Service", "metadata": {"name": "egress", "namespace": "gateways"},
             "spec": {"clusterIP": "10.96.0.40", "selector": {"app": "egress"}, "ports": [{"port": 443, "targetPort": ports.GATEWAY}]}},
        ]
    return found


def compiled(case: Case, uid: str) -> Rules:
    """What the sidecar makes of what the injector sends it."""
    objects = manifests(case)
    cluster = Cluster.of([*objects, *derived_slices(objects)])
    assert not cluster.problems
    found = compile_workload(cluster, uid, pki.DOMAIN, LastGood())
    assert found is not None
    return Rules.of(parse_snapshot(render_snapshot(found.snapshot)), "digest")


def world(case: Case, nursery: trio.Nursery, heard: list[bytes]) -> tuple[Pod, list[Address]]:
    """The workload, and all that is dialled by it or for it, but the gateway."""
    serve = answering(heard)
    if "postgres" in case.other:
        serve = postgres(https(case.holder, serve), has_tls="without TLS" not in case.other)
    elif "bare" not in case.other and not case.how.startswith("BYTES"):
        most = SSL.TLS1_2_VERSION if "old" in case.other else SSL.TLS1_3_VERSION
        serve = https(case.holder, serve, client_root=root("clients") if "demands" in case.other else None, most=most)
    if "gateway" in case.other:
        out = by_gateway.gateway(nursery, compiled(case, "gate"))
        outside, resolver = out.bench.dialer, out.resolver
        web = by_gateway.behind(nursery, out, compiled(case, "web"))
        if "gone" in case.other:
            del web.bench.dialer.servers[by_gateway.AT]
    else:
        web = pod(nursery, compiled(case, "web"))
        outside, resolver = web.bench.dialer, web.resolver
    at = "10.9.0.1" if "within" in case.other else SERVER
    resolver.names[HOST] = (at,)
    for port in (8443,) if "8443 alone" in case.other else (80, 443, 5432, 8080, 8443):
        outside.servers[Address(at, port)] = serve
    return web, outside.dialled


async def attempt(how: str, web: Pod) -> str:
    """The code of the refusal; empty: there was none."""
    kind, port, *more = how.split()
    if kind == "GET":
        method, path, length = more or ("GET", "/a", "0")
        app = web.dial(Address(SERVER, int(port)))
        await app.send_all(f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {length}\r\n\r\n".encode() + b"x" * int(length))
        answer = await app.receive_some()
        return answer.partition(b"x-bartizan-reason: ")[2][:6].decode() if b" 200 " not in answer[:20] else ""
    if kind in ("TCP", "POSTGRES"):
        address = web.bench.runtime.synthetic.address(HOST)
        assert address is not None
        app = web.dial(Address(address, int(port)))
    else:
        app = web.dial(Address(SERVER, int(port)))
    try:
        stream: SocketStream | TlsStream = app
        if kind == "TLS":
            stream = TlsStream(https_client([root("public").certificate]), app.sock, is_server=False, server_name=HOST)
            await stream.handshake(NotVerified)
        startup = b"\0\0\0\x0b\0\x03\0\0abc" if kind == "POSTGRES" else b"\0" + b"x" * int(more[0] if more else 1)
        await stream.send_all(startup)
        if await stream.receive_some() == OK:
            await wait_all_tasks_blocked()      # a budget may have been overdrawn all the same
            return web.bench.codes[-1] if web.bench.codes else ""
    except (NotVerified, trio.BrokenResourceError):
        pass
    app.close()
    await wait_all_tasks_blocked()
    return web.bench.codes[-1]


@pytest.mark.parametrize("case", CASES, ids=[f"{i} {case.field}, {case.how}, {case.code or 'passes'}" for i, case in enumerate(CASES)])
async def test_it_decides(case: Case, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []
    web, dialled = world(case, nursery, heard)
    web.bench.wall = datetime.now(UTC).timestamp()
    assert await attempt(case.how, web) == case.code
    await wait_all_tasks_blocked()
    if case.code in ("BZ0201", "BZ0202", "BZ0203", "BZ0204", "BZ0210", "BZ0214", "BZ0215", "BZ0304"):
        assert dialled == [], "nobody was to hear of it"
    elif case.code != "BZ0209":
        assert len(dialled) == 1
        assert any(piece[:2] != b"\x16\x03" for piece in heard) is (not case.code)     # else no more than a hello


WITHOUT_EFFECT = {"PolicyWaiver.reason": "words"}


@pytest.mark.parametrize("struct", [
    EgressPolicySpec, Subject, ApprovedHost, ApprovedRange, PolicyWaiver, GatewayService, SecretRef, HostRequest, TlsRequest, HostPorts,
    RangeRequest,
])
def test_every_field_has_its_cases(struct: type[msgspec.Struct]) -> None:
    """One that passes and one that does not: a field that nobody obeys is found here."""
    passing, refused = ({case.field for case in CASES if bool(case.code) is is_refused} for is_refused in (False, True))
    gateway = {"GatewayService.namespace", "GatewayService.service"}      # what passes, passes by both of them
    for field in struct.__struct_fields__:
        name = f"{struct.__name__}.{field}"
        if name not in WITHOUT_EFFECT:
            assert name in refused
            assert name in passing | gateway
