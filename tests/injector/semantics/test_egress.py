import pytest

from injector.documents import HostPorts, HostRequest, SecretRef, TlsRequest
from injector.semantics.egress import egress_problems

PARTNER = SecretRef("partner")
TCP = HostPorts(tcp=(5432,))


def _of(tls: TlsRequest = TlsRequest(), ports: HostPorts = HostPorts(), protocol: str = "http") -> HostRequest:  # noqa: B008
    return HostRequest("a.example.com", tls, ports, protocol)  # type: ignore[arg-type]


@pytest.mark.parametrize(("request_", "paths"), [
    (_of(), []),
    (_of(TlsRequest("mutual", client_certificate=PARTNER)), []),
    (_of(TlsRequest("mutual")), []),        # the policy may have one
    (_of(TlsRequest(client_certificate=PARTNER)), ["tls"]),
    (_of(TlsRequest("mutual", client_certificate=SecretRef("Part ner"))), ["tls.clientCertificate.secret"]),
    (_of(TlsRequest("none")), []),
    (_of(TlsRequest("none", client_certificate=PARTNER)), ["tls.clientCertificate"]),
    (_of(TlsRequest("none", min_version="1.3")), ["tls.minVersion"]),
    (_of(TlsRequest("none", port=8443)), ["tls.port"]),
    (_of(TlsRequest("none", start_tls="smtp"), TCP, "tcp"), ["tls.startTls"]),
    (_of(TlsRequest(start_tls="smtp")), ["tls.startTls"]),
    (_of(TlsRequest(start_tls="smtp"), TCP, "tcp"), []),
    (_of(TlsRequest("mutual", client_certificate=PARTNER, start_tls="mysql"), TCP, "tcp"), []),
    (_of(TlsRequest(port=5433), TCP, "tcp"), ["tls.port"]),
    (_of(TlsRequest("none"), TCP, "tcp"), []),
    (_of(protocol="tcp"), ["ports"]),
    (_of(ports=TCP), ["ports.tcp"]),
    (_of(ports=TCP, protocol="tls"), ["ports.tcp"]),
    (_of(ports=HostPorts((80, 443))), ["ports"]),
    (_of(ports=HostPorts((80, 443)), protocol="tls"), []),
    (_of(ports=HostPorts((), ())), ["ports"]),
    (_of(ports=HostPorts((80,), ())), []),
    (_of(ports=HostPorts((80,), ()), protocol="tls"), ["ports"]),
    (_of(TlsRequest(min_version="1.3"), protocol="tls"), ["tls"]),
    (_of(TlsRequest("none"), protocol="tls"), ["tls"]),
])
def test_hosts(request_: HostRequest, paths: list[str]) -> None:
    assert [path for path, _ in egress_problems(request_)] == paths
