import pytest

from injector.cluster.objects import Object
from injector.compile.edge_tls import tls_host
from sidecar.model.edge import ClientCertificates, TlsHost

from .edge_secrets import certificate, secret_of, tls_secret

KEY = "shop", "cert"


def test_a_chain_with_its_key() -> None:
    clients = ClientCertificates("PEM")
    found, problem = tls_host(KEY, Object(tls_secret("cert", "x.test")), ["x.test"], "1.3", clients)
    assert problem == ""
    assert (found.name, found.hosts, found.min_version, found.clients) == ("shop/cert", ("x.test",), "1.3", clients)
    assert (found.chain or "").startswith("-----BEGIN CERTIFICATE-----")
    assert (found.key or "").startswith("-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(("data", "problem"), [
    ({}, "does not hold tls.crt and tls.key"),
    ({"tls.crt": certificate("x.test").chain_pem}, "does not hold tls.crt and tls.key"),
    ({"tls.crt": "", "tls.key": ""}, "does not hold tls.crt and tls.key"),
    ({"tls.crt": "no PEM", "tls.key": certificate("x.test").key_pem}, "tls.crt or tls.key cannot be read"),
    ({"tls.crt": certificate("x.test").chain_pem, "tls.key": "no PEM"}, "tls.crt or tls.key cannot be read"),
    ({"tls.crt": certificate("x.test").chain_pem, "tls.key": certificate("x.test").key_pem}, "tls.key is not the key of tls.crt"),
])
def test_what_is_none_is_left_out_and_told(data: dict[str, str], problem: str) -> None:
    found, told = tls_host(KEY, Object(secret_of("cert", data)), ["x.test"], "1.2")
    assert found == TlsHost("shop/cert", ("x.test",))
    assert problem in told
    assert "the Secret shop/cert" in told
