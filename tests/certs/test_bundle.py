"""The SPIFFE form of the bundle: what a stranger's library reads out of it are our roots."""

import base64
import json

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certs.bundle import spiffe_bundle
from certs.ca import create_root
from tests.helpers.pki import issue

from .support import DOMAIN, NOW, RSA_KEY

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}


def number(text):
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def key_of(jwk):
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    return ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), CURVES[jwk["crv"]]).public_key()


def test_each_root_is_a_key_with_its_certificate():
    roots = [create_root(DOMAIN, NOW).certificate, issue(None, is_ca=True, key=RSA_KEY).certificate]
    document = json.loads(spiffe_bundle(roots, 1_800_000_000_123))
    assert document["spiffe_sequence"] == 1_800_000_000_123
    assert document["spiffe_refresh_hint"] > 0
    assert len(document["keys"]) == 2
    for root, jwk in zip(roots, document["keys"], strict=True):
        assert jwk["use"] == "x509-svid"
        assert [x509.load_der_x509_certificate(base64.b64decode(text)) for text in jwk["x5c"]] == [root]
        assert key_of(jwk) == root.public_key()


def test_coordinates_keep_their_leading_zeros():
    """RFC 7518 s6.2.1.2: the length is that of the field, whatever the number."""
    for _ in range(600):    # one in 256 begins with a zero byte
        key = ec.generate_private_key(ec.SECP256R1())
        if key.public_key().public_numbers().x < 1 << 248:
            break
    jwk, = json.loads(spiffe_bundle([issue(None, is_ca=True, key=key).certificate], 1))["keys"]
    assert len(jwk["x"]) == len(jwk["y"]) == 43


def test_a_root_of_another_kind_has_no_place_in_it():
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([])
    good = create_root(DOMAIN, NOW).certificate
    strange = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, good.not_valid_before_utc, good.not_valid_after_utc).sign(key, None))
    assert len(json.loads(spiffe_bundle([strange, good], 1))["keys"]) == 1
