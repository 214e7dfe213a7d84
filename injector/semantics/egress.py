"""What the types cannot say of `bartizan.dev/egress`."""

from collections.abc import Iterator

from injector.documents import EgressRequest, RangeRequest
from sidecar.model.identity import SERVICE_ACCOUNT

from .text import Complaint, host_problems, network_problems


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
