"""What the types of `documents.py` cannot say. Each function yields (path inside the value, what is wrong and the cure)."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator

from sidecar.model import ports
from sidecar.model.address import canonical, is_address
from sidecar.model.identity import NAMESPACE, SERVICE_ACCOUNT

from .documents import (
    ApprovedHost,
    ApprovedRange,
    Caller,
    EgressPolicySpec,
    EgressRequest,
    MeshPolicySpec,
    RangeRequest,
    RouteRule,
    Subject,
)

Complaint = tuple[str, str]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?(?:{_LABEL}\.)*[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?", re.ASCII)
# > pchar (RFC 3986 s3.3) and "/". We are stricter: no escapes, since requests are judged by their bytes as sent.
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,=:@/-]*", re.ASCII)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----")


def route_problems(rule: RouteRule) -> Iterator[Complaint]:
    if rule.port in ports.OWN:
        yield "port", f"{rule.port} is a port of the sidecar; name the application's"
    for i, match in enumerate(rule.matches):
        if match.path is not None:
            value = match.path.value
            if not _PATH.fullmatch(value) or "//" in value or {".", ".."} & set(value.split("/")):
                yield f"matches[{i}].path.value", f"{value!r} is no normal path, so no request could match it"
        if match.method in ("CONNECT", "TRACE"):
            yield f"matches[{i}].method", f"{match.method} is never forwarded"
    for i, caller in enumerate(rule.allow):
        for where, problem in _caller_problems(caller):
            yield f"allow[{i}].{where}", problem


def _caller_problems(caller: Caller) -> Iterator[Complaint]:
    if caller.service_account != "*" and not SERVICE_ACCOUNT.fullmatch(caller.service_account):
        yield "serviceAccount", f"{caller.service_account!r} is no name of a service account; write one whole name, or * for any"
    if caller.namespace not in (None, "*") and not NAMESPACE.fullmatch(caller.namespace or ""):
        yield "namespace", f"{caller.namespace!r} is no name of a namespace; write one whole name, or * for any"


def egress_problems(request: EgressRequest) -> Iterator[Complaint]:
    if isinstance(request, RangeRequest):
        yield from network_problems("cidr", request.cidr)
        return
    yield from host_problems("host", request.host)
    tls = request.tls
    if tls.mode == "mutual" and tls.client_certificate is None:
        yield "tls", "mode mutual needs `clientCertificate: {secret: NAME}`"
    if tls.mode == "simple" and tls.client_certificate is not None:
        yield "tls", "mode simple presents no certificate; write `mode: mutual` or remove clientCertificate"
    if tls.client_certificate is not None and not SERVICE_ACCOUNT.fullmatch(tls.client_certificate.secret):
        yield "tls.clientCertificate.secret", f"{tls.client_certificate.secret!r} is no name of a Secret"
    if both := set(request.ports.plain) & set(request.ports.tls):
        yield "ports", f"{min(both)} is both plain and tls; a port speaks one of them"


def egress_policy_problems(spec: EgressPolicySpec) -> Iterator[Complaint]:
    for i, subject in enumerate(spec.subjects):
        yield from _below(f"subjects[{i}]", _subject_problems(subject))
    for i, host in enumerate(spec.hosts):
        yield from _below(f"hosts[{i}]", _approved_host_problems(host))
    for i, approved in enumerate(spec.ranges):
        yield from _below(f"ranges[{i}]", _approved_range_problems(approved))
    yield from _repeated("hosts", "host", [host.host for host in spec.hosts])


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
    for i, text in enumerate(host.special_addresses):
        yield from network_problems(f"specialAddresses[{i}]", text)
    if host.ca_bundle is not None:
        blocks = _PEM.findall(host.ca_bundle)
        if not blocks or not all(map(_is_base64, blocks)):
            yield "caBundle", "it holds no certificate; paste the PEM text, -----BEGIN CERTIFICATE----- and all"


def _approved_range_problems(approved: ApprovedRange) -> Iterator[Complaint]:
    yield from network_problems("cidr", approved.cidr)


def mesh_policy_problems(spec: MeshPolicySpec) -> Iterator[Complaint]:
    if spec.mtls is not None and spec.mtls.mode == "permissive" and spec.mtls.until is None:
        yield "mtls", "permissive needs `until`, the date at which it ends: 2026-12-31T00:00:00Z"
    if spec.mtls is not None and spec.mtls.mode == "strict" and spec.mtls.until is not None:
        yield "mtls.until", "strict has no end; remove it"
    for i, namespace in enumerate(spec.selector.namespaces):
        if not NAMESPACE.fullmatch(namespace):
            yield f"selector.namespaces[{i}]", f"{namespace!r} is no name of a namespace"
    for i, text in enumerate(spec.resolvers or ()):
        if not _is_resolver(text):
            yield f"resolvers[{i}]", f"{text!r} is no address of a name server; write 10.96.0.10 or [fd00::10]:5353"
    for i, text in enumerate(spec.cluster_ranges or ()):
        yield from network_problems(f"clusterRanges[{i}]", text)
    if spec.cluster_domain is not None and not _HOST.fullmatch(spec.cluster_domain):
        yield "clusterDomain", f"{spec.cluster_domain!r} is no domain; write cluster.local"


def host_problems(path: str, host: str) -> Iterator[Complaint]:
    if is_address(host):
        yield path, f"{host!r} is an address, not a name; write `cidr: {host}/{128 if ':' in host else 32}`"
    elif host != host.lower():
        yield path, f"{host!r}: write names in lower case"
    elif "://" in host or "/" in host:
        yield path, f"{host!r}: write the name alone, without scheme and path"
    elif host.endswith("."):
        yield path, f"{host!r}: write the name without the dot at its end"
    elif len(host) > 253 or not _HOST.fullmatch(host):
        yield path, f"{host[:100]!r} is no host name; a wildcard is one star for whole labels at the front: *.example.com"
    elif host.startswith("*.") and host.count(".") < 2:
        yield path, f"{host!r} would be a whole top-level domain; name at least *.example.com"


def network_problems(path: str, text: str) -> Iterator[Complaint]:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            yield path, f"{text!r} has bits set behind its prefix; did you mean {ipaddress.ip_network(text, strict=False)}?"
        except ValueError:
            yield path, f"{text[:100]!r} is no range of addresses; write 203.0.113.0/24 or 2001:db8::/32"


def _is_resolver(text: str) -> bool:
    if is_address(text):
        return str(canonical(text)) == text
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return False
    return is_address(host) and re.fullmatch("[1-9][0-9]{0,4}", port, re.ASCII) is not None and int(port) <= 65535


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        return False


def _below(base: str, complaints: Iterator[Complaint]) -> Iterator[Complaint]:
    for path, problem in complaints:
        yield f"{base}.{path}" if path else base, problem


def _repeated(base: str, field: str, names: list[str]) -> Iterator[Complaint]:
    for i, name in enumerate(names):
        if name in names[:i]:
            yield f"{base}[{i}].{field}", f"{name!r} is there twice; remove one"


