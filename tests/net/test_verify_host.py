"""Host names as RFC 9525 has them; pinned names and keys; waivers and their ends. No handshake is needed to ask."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from sidecar.model.egress import Origination, Waiver
from sidecar.model.errors import NotVerified
from sidecar.net.verify_host import key_pin, require_waiver, verify_external, verify_host, waived_until
from tests.helpers import pki

NOW = 1000.0
ROOT = pki.authority("root")
X400_NAME = bytes.fromhex("3004a3020500")     # SubjectAltName: [3] x400Address, which `cryptography` does not know


# -- host names


def verify(names: list[x509.GeneralName], host: str, *, subject: str = "") -> str:
    """"" if the certificate is for `host`, otherwise what is said about it."""
    try:
        verify_host(pki.issue(ROOT, *names, subject=subject).certificate, host)
    except NotVerified as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize(("names", "host", "is_for"), [
    (["api.example.com"], "api.example.com", True),
    (["API.Example.com"], "api.example.com", True),
    (["a.example.com", "b.example.com"], "b.example.com", True),
    (["api.example.com"], "example.com", False),
    (["example.com"], "api.example.com", False),
    (["api.example.com"], "api.example.com.evil.net", False),
    (["api.example.com"], "xapi.example.com", False),
    (["*.example.com"], "api.example.com", True),
    (["*.example.com"], "a.b.example.com", False),
    (["*.example.com"], "example.com", False),
    (["*.example.com"], "*.example.com", False),
    (["*"], "localhost", False),
    (["*.com"], "example.com", False),
    (["a*.example.com"], "api.example.com", False),
    (["*i.example.com"], "api.example.com", False),
    (["api.*.com"], "api.example.com", False),
    (["*.*.com"], "api.example.com", False),
    (["192.0.2.1"], "192.0.2.1", True),
    (["192.0.2.1"], "192.0.2.2", False),
    (["2001:db8::1"], "2001:db8::1", True),
    (["2001:db8::1"], "2001:db8::2", False),
    (["192.0.2.1"], "api.example.com", False),
    (["api.example.com"], "192.0.2.1", False),
    (["xn--bcher-kva.example"], "xn--bcher-kva.example", True),
    ([pki.ORDERS], "orders", False),
])
def test_host_names(names: list[str], host: str, is_for: bool) -> None:
    said = verify([pki.uri(name) if "://" in name else pki.host(name) for name in names], host)
    assert (said == "") is is_for
    assert is_for or host in said


def test_an_address_is_proved_by_an_address_only() -> None:
    assert verify([x509.DNSName("192.0.2.1")], "192.0.2.1") != ""
    assert verify([x509.DNSName("*.0.2.1")], "192.0.2.1") != ""


def test_a_common_name_proves_nothing() -> None:
    assert verify([], "api.example.com", subject="api.example.com") != ""
    assert verify([pki.host("b.example.com")], "api.example.com", subject="api.example.com") != ""


def test_a_nul_hides_nothing() -> None:
    assert verify([x509.DNSName("api.example.com\0.evil.net")], "api.example.com") != ""


@pytest.mark.parametrize("host", [
    "", ".", "a..b", "_a.example.com", "api.example.com.", "1.2.3", "a" * 300, "[2001:db8::1]", "a b", "b\u00fccher",
])
def test_strange_names_are_refused_and_break_nothing(host: str) -> None:
    said = verify([pki.host("*.example.com"), pki.host("api.example.com")], host)
    assert said != "" or host in ("api.example.com.", "_a.example.com")


@pytest.mark.parametrize("value", [X400_NAME, b"\x30\x03\x82\x01\xff"])
def test_names_that_cannot_be_read_are_refused(value: bytes) -> None:
    strange = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, value)
    certificate = pki.issue(ROOT, subject="x", extensions=[strange]).certificate
    with pytest.raises(NotVerified, match="unusable"):
        verify_host(certificate, "api.example.com")
    for settings in (Origination(), Origination(subject_alt_names=("b.test",), waivers=(Waiver("name", 2000),))):
        with pytest.raises(NotVerified, match="unusable"):
            verify_external([certificate], "api.example.com", settings, NOW)


def test_no_certificate_is_for_no_host() -> None:
    with pytest.raises(NotVerified, match="no certificate"):
        verify_host(None, "api.example.com")


# -- what is pinned, and what is waived

HOST = "api.example.com"
INTERMEDIATE = pki.authority("intermediate", ROOT)
LEAF = pki.issue(INTERMEDIATE, pki.host(HOST), pki.host("*.edge.example"), pki.host("B.example"))
CHAIN = (*LEAF.chain, ROOT.certificate)
PINS = [key_pin(one) for one in CHAIN]
OTHER = key_pin(pki.authority("other").certificate)


def judged(host: str = HOST, waived: frozenset[str] = frozenset(), **settings: object) -> str:
    """What needed a waiver, or why the host is refused."""
    try:
        return ",".join(sorted(verify_external(CHAIN, host, Origination(**settings), NOW, waived)))  # type: ignore[arg-type]
    except NotVerified as exc:
        return f"refused: {exc}"


def test_a_pin_is_what_others_compute() -> None:
    """RFC 7469 appendix A says how; of this key openssl has computed it:
    `openssl pkey -pubin -in key.pem -outform DER | openssl dgst -sha256 -binary | base64`
    """
    key = ec.derive_private_key(7, ec.SECP256R1())
    assert key_pin(pki.issue(None, key=key, subject="x").certificate) == "sha256/EQhmSc0+XRiSIApCALFlu+pcn5tHyoN5LU+aHvDciSE="


@pytest.mark.parametrize(("names", "is_taken"), [
    ((HOST,), True), (("a.example", HOST), True), (("b.EXAMPLE",), True), (("*.edge.example",), True),
    (("x.edge.example",), False),       # the name itself is pinned, not what it stands for
    (("example.com",), False), (("a.example",), False), (("*.example.com",), False),
])
def test_pinned_names(names: tuple[str, ...], is_taken: bool) -> None:
    said = judged(subject_alt_names=names)
    assert (said == "") is is_taken
    assert is_taken or (names[0] in said and HOST in said and "*.edge.example" in said), "what was asked for, and what is there"


def test_pinned_names_come_besides_the_host() -> None:
    assert "not for c.example" in judged("c.example", subject_alt_names=(HOST,))


@pytest.mark.parametrize(("pins", "is_taken"), [
    *(((pin,), True) for pin in PINS), ((OTHER, PINS[2]), True), ((OTHER,), False), ((PINS[0].lower(),), False),
])
def test_pinned_keys(pins: tuple[str, ...], is_taken: bool) -> None:
    said = judged(key_pins=pins)
    assert (said == "") is is_taken
    assert is_taken or all(pin in said for pin in PINS), "so that who looks after the policy sees what could be pinned"


def test_where_the_chain_is_waived_only_the_leafs_key_counts() -> None:
    waiver = (Waiver("chain", 2000),)
    assert judged(waived=frozenset({"chain"}), key_pins=(PINS[0],), waivers=waiver) == "chain"
    assert "is pinned" in judged(waived=frozenset({"chain"}), key_pins=tuple(PINS[1:]), waivers=waiver)
    assert judged(key_pins=tuple(PINS[1:]), waivers=waiver) == "", "a waiver that was not needed changes nothing"


def test_a_waived_name() -> None:
    pinned = {"subject_alt_names": (HOST,)}
    assert judged("c.example", waivers=(Waiver("name", NOW + 1),), **pinned) == "name"
    assert judged(waivers=(Waiver("name", NOW + 1),), **pinned) == "", "not needed"
    said = judged("c.example", waivers=(Waiver("name", NOW),), **pinned)
    assert "not for c.example" in said
    assert "the waiver of name ended on 1970-01-01 00:16 UTC" in said
    assert "waiver" not in judged("c.example", waivers=(Waiver("expiry", NOW + 1),), **pinned)
    assert "none of the names asked for" in judged("c.example", waivers=(Waiver("name", NOW + 1),), subject_alt_names=("x.example",))


def test_of_two_waivers_the_later_counts() -> None:
    settings = Origination(waivers=(Waiver("expiry", 10.0), Waiver("expiry", 20.0), Waiver("name", 15.0)))
    require_waiver(settings, "expiry", 19.9, "x")
    with pytest.raises(NotVerified, match=r"x; the waiver of expiry ended on 1970-01-01 00:00 UTC"):
        require_waiver(settings, "expiry", 20.0, "x")
    assert waived_until(settings, frozenset({"expiry"})) == 20.0
    assert waived_until(settings, frozenset({"expiry", "name"})) == 15.0
    assert waived_until(settings, frozenset()) == float("inf")
