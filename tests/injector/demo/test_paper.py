import datetime
import ssl
from pathlib import Path

import pytest

from injector.demo.outside import Host, subject, tls_context
from injector.demo.paper import Papers

NOW = datetime.datetime.now(datetime.UTC)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A TLS handshake in memory; raises what either side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server, server_hostname=name), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass   # the other one's turn
    return ends


def client_context(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "roots.pem"))


def test_a_host_is_verified_by_its_name(tmp_path: Path) -> None:
    Papers(NOW).lay_out(tmp_path / "o", ["a.example"])
    server = tls_context(Host("a.example", 1, "a.example"), tmp_path / "o")
    client, _ = shake(server, client_context(tmp_path / "o"), "a.example")
    assert client.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(server, client_context(tmp_path / "o"), "b.example")


def test_a_certificate_that_has_ended(tmp_path: Path) -> None:
    Papers(NOW).lay_out(tmp_path / "o", ["a.example", "b.example"], frozenset({"b.example"}))
    shake(tls_context(Host("a.example", 1, "a.example"), tmp_path / "o"), client_context(tmp_path / "o"), "a.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        shake(tls_context(Host("b.example", 2, "b.example"), tmp_path / "o"), client_context(tmp_path / "o"), "b.example")


def test_a_host_that_demands_a_certificate(tmp_path: Path) -> None:
    papers = Papers(NOW)
    papers.lay_out(tmp_path / "o", ["a.example"])
    server = tls_context(Host("a.example", 1, "a.example", demands_client=True), tmp_path / "o")
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(server, client_context(tmp_path / "o"), "a.example")
    certificate, key = papers.issue("shop-web", is_client=True)
    (tmp_path / "client.pem").write_text(certificate + key)
    client = client_context(tmp_path / "o")
    client.load_cert_chain(tmp_path / "client.pem")
    _, end = shake(server, client, "a.example")
    shown = end.getpeercert()
    assert shown is not None
    assert shown["subject"] == ((("commonName", "shop-web"),),)
    assert subject(None) == ""
