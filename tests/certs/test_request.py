"""Any bytes: the key that signed them, or BadRequest, nothing else."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

from certs.request import MAX_REQUEST_BYTES, BadRequest, key_hash, public_key_of

from .support import RSA_KEY, csr_of, new_key

KEY = new_key()
GOOD = csr_of(KEY)


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER)


def pem_of(der: bytes) -> bytes:
    import base64

    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE REQUEST-----\n"


def test_the_key_and_nothing_else_is_taken():
    wishes = (
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://example.org/ns/bank/sa/vault")]),
        x509.BasicConstraints(ca=True, path_length=None),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    )
    assert public_key_of(csr_of(KEY, *wishes), ()) == KEY.public_key()


@pytest.mark.parametrize(("csr", "why"), [
    (csr_of(RSA_KEY), "not ECDSA P-256"),
    (csr_of(rsa.generate_private_key(65537, 1024)), "not ECDSA P-256"),
    (csr_of(ec.generate_private_key(ec.SECP384R1())), "not ECDSA P-256"),
    (csr_of(ec.generate_private_key(ec.SECP256K1())), "not ECDSA P-256"),
    (csr_of(ec.generate_private_key(ec.SECP192R1())), "not ECDSA P-256"),
    (csr_of(ed25519.Ed25519PrivateKey.generate(), algorithm=None), "not ECDSA P-256"),
    (csr_of(KEY, algorithm=hashes.SHA384()), "SHA-256"),
    (b"", "PKCS #10"),
    (b"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n", "PKCS #10"),
    (GOOD + b" " * MAX_REQUEST_BYTES, "longer than"),
])
def test_refused(csr, why):
    with pytest.raises(BadRequest, match=why):
        public_key_of(csr, ())


def test_somebody_elses_key_is_not_proved():
    """The other's key, put in the place of one's own: the signature no longer fits."""
    point = x509.load_pem_x509_csr(GOOD).public_key().public_numbers()
    mine = point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")
    numbers = new_key().public_key().public_numbers()
    theirs = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    forged = der_of(GOOD).replace(mine, theirs)
    assert forged != der_of(GOOD)
    with pytest.raises(BadRequest, match="by the key that it holds"):
        public_key_of(pem_of(forged), ())


def test_the_issuers_own_key_is_refused():
    with pytest.raises(BadRequest, match="issuer's own"):
        public_key_of(GOOD, {key_hash(KEY.public_key())})


@given(st.binary(max_size=400))
def test_any_bytes(data):
    with pytest.raises(BadRequest):
        public_key_of(data, ())


@given(st.binary(max_size=400))
def test_any_bytes_in_pem(data):
    with pytest.raises(BadRequest):
        public_key_of(pem_of(data), ())


def test_a_version_that_there_is_not():
    der = bytearray(der_of(GOOD))
    der[der.index(bytes.fromhex("020100")) + 2] = 8
    with pytest.raises(BadRequest):
        public_key_of(pem_of(bytes(der)), ())


@given(st.integers(0, len(der_of(GOOD)) - 1), st.integers(1, 255))
@example(7, 1)  # the version, which the library refuses in its own way
def test_a_changed_byte(position, change):
    """A request with one byte changed is refused, or has the same key. (The signature's count of unused bits may be another.)"""
    der = bytearray(der_of(GOOD))
    der[position] ^= change
    try:
        found = public_key_of(pem_of(bytes(der)), ())
    except BadRequest:
        return
    assert found == KEY.public_key()
