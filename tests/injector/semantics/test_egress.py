import pytest

from injector.documents import HostPorts, HostRequest, SecretRef, TlsRequest
from injector.semantics.egress import egress_problems


@pytest.mark.parametrize(("request_", "paths"), [
    (HostRequest("a.example.com", TlsRequest("mutual", client_certificate=SecretRef("partner"))), []),
    (HostRequest("a.example.com", TlsRequest("mutual")), ["tls"]),
    (HostRequest("a.example.com", TlsRequest(client_certificate=SecretRef("partner"))), ["tls"]),
    (HostRequest("a.example.com", TlsRequest("mutual", client_certificate=SecretRef("Part ner"))), ["tls.clientCertificate.secret"]),
    (HostRequest("a.example.com", ports=HostPorts((80, 443))), ["ports"]),
])
def test_hosts(request_: HostRequest, paths: list[str]) -> None:
    assert [path for path, _ in egress_problems(request_)] == paths
