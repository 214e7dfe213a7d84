"""What the types cannot say of `EgressPolicy` and `MeshPolicy`."""

import base64
import binascii
import re
from collections.abc import Iterator

from injector.documents import (
    ApprovedHost,
    ApprovedRange,
    Egress,
    EgressPolicySpec,
    GatewayService,
    MeshPolicySpec,
    Mtls,
    PortMtls,
    Subject,
    TokenIssuer,
)
from injector.documents.text import in_bytes
from injector.key_set import public_keys
from sidecar.model.address import canonical, is_address
from sidecar.model.errors import ConfigError
from sidecar.model.identity import NAMESPACE, SERVICE_ACCOUNT
from sidecar.model.path import judge_rule_path
from sidecar.net.service import split_url

from .exclude import exclusions_problems, udp_problems
from .text import HOST, Complaint, below, host_problems, network_problems, repeated

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")
_PORT = re.compile("[1-9][0-9]{0,4}", re.ASCII)
_NO_PEM = "it holds no certificate; paste the PEM text, -----BEGIN CERTIFICATE----- and all"


def egress_policy_problems(spec: EgressPolicySpec) -> Iterator[Complaint]:
    for i, subject in enumerate(spec.subjects):
        yield from below(f"subjects[{i}]", _subject_problems(subject))
    for i, host in enumerate(spec.hosts):
        yield from below(f"hosts[{i}]", _approved_host_problems(host))
    for i, approved in enumerate(spec.ranges):
        yield from below(f"ranges[{i}]", _approved_range_problems(approved))
    yield from repeated("hosts", "host", [host.host for host in spec.hosts])
    if spec.gateway is not None:
        yield from below("gateway", _gateway_problems(spec.gateway))


def _subject_problems(subject: Subject) -> Iterator[Complaint]:
    if (subject.namespace is None) == (subject.namespace_selector is None):
        yield "", "name either `namespace` or `namespaceSelector`; `namespaceSelector: {}` is every namespace"
    if subject.namespace is not None and not NAMESPACE.fullmatch(subject.namespace):
        yield "namespace", f"{subject.namespace!r} is no name of a namespace; for several use namespaceSelector"
    for i, account in enumerate(subject.service_accounts):
        if not SERVICE_ACCOUNT.fullmatch(account):
            yield f"serviceAccounts[{i}]", f"{account!r} is no name of a service account; for all, leave serviceAccounts out"


def _approved_host_problems(host: ApprovedHost) -> Iterator[Complaint]:
    yield from host_problems("host", host.host)
    for field in ("ports", "protocols"):
        if not getattr(host, field):
            yield field, f"it approves none; name one, or leave {field} out for the usual ones"
    yield from _verification_problems(host)
    for i, text in enumerate(host.special_addresses):
        yield from network_problems(f"specialAddresses[{i}]", text)
    for i, path in enumerate(host.paths):
        try:
            judge_rule_path(path)
        except ValueError as exc:
            yield f"paths[{i}]", str(exc)
    if "tcp" in host.protocols and (host.methods or host.paths):
        yield "protocols", "methods and paths are of HTTP, which nobody looks for in tcp; approve tcp in a policy of its own"
    if set(host.protocols) == {"tls"}:
        for name, is_said in (
            ("methods", host.methods), ("paths", host.paths), ("subjectAltNames", host.subject_alt_names), ("keyPins", host.key_pins),
        ):
            if is_said:
                yield "protocols", f"the application's own TLS would hide {name}, so nothing would pass; add http, or remove {name}"
    yield from _size_problems("bytesPerHour", host.bytes_per_hour)
    if host.gateway is not None:
        yield from below("gateway", _gateway_problems(host.gateway))


def _verification_problems(host: ApprovedHost) -> Iterator[Complaint]:
    if host.ca_bundle is not None and not _is_pem(host.ca_bundle):
        yield "caBundle", _NO_PEM
    for i, name in enumerate(host.subject_alt_names):
        if name.startswith("*"):
            yield f"subjectAltNames[{i}]", f"{name[:100]!r}: write a whole name, as the host's certificate is for"
        else:
            yield from host_problems(f"subjectAltNames[{i}]", name)
    for i, pin in enumerate(host.key_pins):
        if not _is_digest(pin.removeprefix("sha256/")):
            yield f"keyPins[{i}]", "it is no base64 of 32 bytes; copy the whole digest of the host's public key"
    if host.client_certificate is not None and not SERVICE_ACCOUNT.fullmatch(host.client_certificate.secret):
        yield "clientCertificate.secret", f"{host.client_certificate.secret!r} is no name of a Secret"
    yield from _waiver_problems(host)
    for field, is_said in (
        ("minVersion", host.min_version != "1.2"), ("subjectAltNames", bool(host.subject_alt_names)),
        ("keyPins", bool(host.key_pins)), ("clientCertificate", host.client_certificate is not None),
    ):
        if host.allow_plaintext and is_said:
            yield "allowPlaintext", f"plaintext would go round {field}; remove one of the two"


def _waiver_problems(host: ApprovedHost) -> Iterator[Complaint]:
    """When a waiver ends is for the sidecar to see: here is no clock."""
    for i, waiver in enumerate(host.waivers):
        if waiver.check == "chain" and not host.key_pins:
            yield f"waivers[{i}]", "without a chain nothing would say whose key it is; name the host's key in keyPins"
        if waiver.check == "name" and not host.subject_alt_names:
            yield f"waivers[{i}]", "without the name nothing would say whose certificate it is; name its names in subjectAltNames"
        if not waiver.reason.strip():
            yield f"waivers[{i}].reason", "say why, for whoever reads the log"
    yield from repeated("waivers", "check", [waiver.check for waiver in host.waivers])


def _approved_range_problems(approved: ApprovedRange) -> Iterator[Complaint]:
    yield from network_problems("cidr", approved.cidr)
    yield from _size_problems("bytesPerHour", approved.bytes_per_hour)
    if approved.gateway is not None:
        yield from below("gateway", _gateway_problems(approved.gateway))


def _size_problems(path: str, size: int | str | None) -> Iterator[Complaint]:
    if size is not None and in_bytes(size) == 0:
        yield path, f"{size} lets nothing through; remove the entry if that is meant, or leave {path} out for no limit"


def _gateway_problems(gateway: GatewayService) -> Iterator[Complaint]:
    for field, name in ("namespace", gateway.namespace), ("service", gateway.service):
        if not NAMESPACE.fullmatch(name):
            yield field, f"{name!r} is no name of a {field}"


def mesh_policy_problems(spec: MeshPolicySpec) -> Iterator[Complaint]:
    if spec.mtls is not None:
        yield from below("mtls", _mtls_problems(spec.mtls))
    for i, namespace in enumerate(spec.selector.namespaces):
        if not NAMESPACE.fullmatch(namespace):
            yield f"selector.namespaces[{i}]", f"{namespace!r} is no name of a namespace"
    for i, text in enumerate(spec.resolvers or ()):
        if not _is_resolver(text):
            yield f"resolvers[{i}]", f"{text!r} is no address of a name server; write 10.96.0.10 or [fd00::10]:5353"
    for i, text in enumerate(spec.cluster_ranges or ()):
        yield from network_problems(f"clusterRanges[{i}]", text)
    if spec.cluster_domain is not None and not HOST.fullmatch(spec.cluster_domain):
        yield "clusterDomain", f"{spec.cluster_domain!r} is no domain; write cluster.local"
    if spec.egress is not None:
        yield from below("egress", _mode_problems(spec.egress))
    for i, datagrams in enumerate(spec.udp or ()):
        yield from below(f"udp[{i}]", udp_problems(datagrams))
    if spec.exclusions is not None:
        yield from below("exclusions", exclusions_problems(spec.exclusions))
    for i, issuer in enumerate(spec.token_issuers or ()):
        yield from below(f"tokenIssuers[{i}]", _issuer_problems(issuer))
    yield from repeated("tokenIssuers", "issuer", [issuer.issuer for issuer in spec.token_issuers or ()])


def _mtls_problems(mtls: Mtls) -> Iterator[Complaint]:
    """How far ahead an end may lie is for people to judge: what was valid once must be so when it is read again, and here is no clock."""
    yield from _mode_problems(mtls)
    for port, mode in mtls.ports.items():
        if not _is_port(port):
            yield f"ports.{port[:100]}", f'"{port[:100]}" is no port; write a number from 1 to 65535'
        yield from below(f"ports.{port[:100]}", _mode_problems(mode))


_LASTING = {"permissive": "strict", "observe": "enforce"}     # what a mode means from its end on


def _mode_problems(chosen: PortMtls | Egress) -> Iterator[Complaint]:
    lasting = _LASTING.get(chosen.mode)
    if lasting is not None and chosen.until is None:
        yield "", f"{chosen.mode} needs `until`, the date from which it means {lasting}: 2026-12-31T00:00:00Z"
    if lasting is None and chosen.until is not None:
        yield "until", f"{chosen.mode} has no end; remove it"


def _issuer_problems(issuer: TokenIssuer) -> Iterator[Complaint]:
    if (issuer.jwks is None) == (issuer.jwks_uri is None):
        yield "", "give its keys, either as `jwks` or by `jwksUri`"
    if issuer.jwks is not None:
        try:
            public_keys(issuer.jwks.encode())
        except ConfigError as exc:
            yield "jwks", exc.problem
        if issuer.ca_bundle is not None or issuer.special_addresses:
            yield "jwks", "nothing is fetched, so caBundle and specialAddresses do not count; remove them"
    if issuer.jwks_uri is not None:
        try:
            split_url(issuer.jwks_uri)
        except ValueError:
            yield "jwksUri", f"{issuer.jwks_uri[:200]!r} is no address; write https://host/path"
    if issuer.ca_bundle is not None and not _is_pem(issuer.ca_bundle):
        yield "caBundle", _NO_PEM
    for i, text in enumerate(issuer.special_addresses):
        yield from network_problems(f"specialAddresses[{i}]", text)


def _is_resolver(text: str) -> bool:
    if is_address(text):
        return str(canonical(text)) == text
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return False
    return is_address(host) and _is_port(port)


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) <= 65535


def _is_pem(text: str) -> bool:
    blocks = _PEM.findall(text)
    return bool(blocks) and all(map(_is_base64, blocks))


def _is_digest(text: str) -> bool:
    """Whether `text` is the one way to write 32 bytes."""
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except (binascii.Error, ValueError):
        return False


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        return False
