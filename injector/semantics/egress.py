"""What the types cannot say of `bartizan.dev/egress`.

A field that would count for nothing is refused: whoever wrote it believes in it.
"""

from collections.abc import Iterator

from injector.documents import EgressRequest, HostRequest, RangeRequest, TlsRequest
from sidecar.model.identity import SERVICE_ACCOUNT

from .text import Complaint, below, host_problems, network_problems

_NOTHING_SAID = TlsRequest()


def egress_problems(request: EgressRequest) -> Iterator[Complaint]:
    if isinstance(request, RangeRequest):
        yield from network_problems("cidr", request.cidr)
        return
    yield from host_problems("host", request.host)
    yield from _port_problems(request)
    if request.protocol == "tls":
        if request.tls != _NOTHING_SAID:
            yield "tls", "with protocol tls the application's own passes, and the sidecar makes none; remove tls, or write `protocol: http`"
    else:
        yield from below("tls", _tls_problems(request.tls, request.protocol == "tcp"))


def _port_problems(request: HostRequest) -> Iterator[Complaint]:
    ports = request.ports
    if request.protocol == "tcp":
        if not ports.tcp:
            yield "ports", "protocol tcp needs the ports that the application connects to: `ports: {tcp: [5432]}`"
        return
    if ports.tcp:
        yield "ports.tcp", f"it counts for nothing with protocol {request.protocol}; write `protocol: tcp`, or remove it"
    if not ports.tls and (request.protocol == "tls" or not ports.plain):
        yield "ports", "no port is left; name one, or leave ports out"
    if request.protocol == "http" and (both := set(ports.plain) & set(ports.tls)):
        yield "ports", f"{min(both)} is both plain and tls; a port speaks one of them"


def _tls_problems(tls: TlsRequest, is_tcp: bool) -> Iterator[Complaint]:
    """A certificate that `mode: mutual` lacks may be the policy's: whoever looks for the approval knows."""
    if tls.mode == "simple" and tls.client_certificate is not None:
        yield "", "mode simple presents no certificate; write `mode: mutual` or remove clientCertificate"
    if tls.mode == "none":
        for field, is_said in (
            ("clientCertificate", tls.client_certificate is not None), ("minVersion", tls.min_version != _NOTHING_SAID.min_version),
            ("startTls", tls.start_tls is not None), ("port", tls.port != _NOTHING_SAID.port),
        ):
            if is_said:
                yield field, f"mode none encrypts nothing, so {field} counts for nothing; remove it, or write `mode: simple`"
        return
    if tls.start_tls is not None and not is_tcp:
        yield "startTls", "it is asked for inside of another protocol than HTTP; write `protocol: tcp`, or remove it"
    if is_tcp and tls.port != _NOTHING_SAID.port:
        yield "port", "with protocol tcp the port that the application connects to is kept; write it into ports.tcp"
    if tls.client_certificate is not None and not SERVICE_ACCOUNT.fullmatch(tls.client_certificate.secret):
        yield "clientCertificate.secret", f"{tls.client_certificate.secret!r} is no name of a Secret"
