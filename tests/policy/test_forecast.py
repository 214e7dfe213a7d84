"""What the rules say before anything is sent: which destination is meant, by what it is spoken to, and how that would be verified."""

import pytest

from sidecar.model.decision import Denied
from sidecar.model.egress import ClientCertificate, EgressHost, EgressRange, GatewayRef, Origination, Outbound, Waiver
from sidecar.model.explanation import Question
from sidecar.model.reason import Reason
from sidecar.model.service import Endpoint, Service
from sidecar.policy.egress import ToHost
from sidecar.policy.forecast import Forecast, forecast
from tests.helpers.pki import ORDERS
from tests.helpers.runtime import NOW, rules

ONE = Endpoint("10.1.0.7", 8080, ORDERS)
SERVICES = (
    Service("orders.shop", 80, ("10.96.7.1",), "http", (ONE,)),
    Service("orders.other", 80, ("10.96.7.9",), "http", (ONE,)),
    Service("db.shop", 5432, (), "opaque", (Endpoint("10.1.0.8", 5432, ORDERS),)),
    Service("empty.shop", 80, ("10.96.7.3",)),
)


def say(question: Question, *hosts: EgressHost, ranges: tuple[EgressRange, ...] = ()) -> Forecast:
    return forecast(question, question.host, rules(outbound=Outbound(SERVICES, hosts, ranges)), NOW, None)


@pytest.mark.parametrize(("host", "port", "service", "at"), [
    ("orders", 80, "orders.shop", "10.96.7.1:80"), ("orders.shop", 80, "orders.shop", "10.96.7.1:80"),
    ("orders.shop.svc", 80, "orders.shop", "10.96.7.1:80"), ("orders.shop.svc.cluster.local", 80, "orders.shop", "10.96.7.1:80"),
    ("orders.other", 80, "orders.other", "10.96.7.9:80"), ("10.96.7.9", 80, "orders.other", "10.96.7.9:80"),
    ("db", 5432, "db.shop", "10.1.0.8:5432"), ("empty", 80, "empty.shop", "10.96.7.3:80"),
])
def test_a_service_by_each_of_its_names(host: str, port: int, service: str, at: str) -> None:
    found = say(Question(host, port))
    assert found.service is not None
    assert (found.service.service.name, str(found.to), found.kind) == (service, at, "tcp" if port == 5432 else "plain")


@pytest.mark.parametrize(("host", "port"), [("orders", 8080), ("orders.nowhere", 80), ("orders.shop.evil.example", 80), ("10.96.7.2", 80)])
def test_what_is_no_service(host: str, port: int) -> None:
    found = say(Question(host, port))
    assert found.service is None
    assert isinstance(found.judged, Denied)


BOTH = EgressHost("a.test", "p/a", (80, 8080), (443,), (25,))


@pytest.mark.parametrize(("port", "asked", "kind"), [
    (80, "auto", "plain"), (8080, "auto", "plain"), (443, "auto", "tls"), (25, "auto", "tcp"), (9, "auto", "plain"),
    (80, "tls", "tls"), (443, "plain", "plain"), (80, "tcp", "tcp"),
    (25, "plain", "tcp"), (25, "tls", "tcp"),       # its name leads to its synthetic address
])
def test_what_is_spoken(port: int, asked: str, kind: str) -> None:
    assert say(Question("a.test", port, asked), BOTH).kind == kind  # type: ignore[arg-type]


def test_tls_is_meant_by_its_port_where_nobody_approves() -> None:
    assert [say(Question("b.test", port)).kind for port in (443, 80)] == ["tls", "plain"]


@pytest.mark.parametrize(("host", "words"), [
    (BOTH, "a.test is approved, but not plain HTTP to port 9; approved is plain HTTP to 80, 8080 and TLS to 443 and TCP to 25"),
    (EgressHost("a.test", "p/a", (), ()), "no way that was asked for is left by what the policy checks"),
])
def test_what_is_approved_instead_is_said(host: EgressHost, words: str) -> None:
    assert words in say(Question("a.test", 9), host).steps[-1].words


def test_the_effective_verification() -> None:
    tls = Origination(
        8443, "1.3", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", ClientCertificate("mine", "chain", "key"),
        ("b.test",), ("sha256/x",),
        (Waiver("expiry", NOW + 1), Waiver("chain", NOW - 1)),
    )
    found = say(Question("a.test", 80), EgressHost("a.test", "p/a", tls=tls))
    assert isinstance(found.judged, ToHost)
    assert found.steps[-1].facts == {
        "port": "8443", "version": "1.3 or newer", "roots": "the one of the policy's caBundle", "name": "a.test",
        "one of the names": "b.test", "one of the keys": "sha256/x", "client certificate": "mine", "waived": "expiry",
    }


def test_who_verifies_nothing_says_so() -> None:
    plain = say(Question("a.test", 80), EgressHost("a.test", "p/a", tls=None)).steps[-1]
    own = say(Question("a.test", 443), BOTH).steps[-1]
    ranged = say(Question("198.51.100.1", 9), ranges=(EgressRange("198.51.100.0/24", "far"),)).steps[-1]
    assert plain.words.startswith("none: ")
    assert own.words.startswith("the application verifies")
    assert ranged.words.startswith("none by the sidecar")


@pytest.mark.parametrize(("host", "kind"), [("192.0.2.1", "tcp"), ("192.0.2.1", "auto"), ("192.0.2.1", "tls"), ("[2001:db8::1]", "auto")])
def test_an_address_that_no_range_holds(host: str, kind: str) -> None:
    found = say(Question(host, 443, kind))  # type: ignore[arg-type]
    assert isinstance(found.judged, Denied)
    assert (found.judged.reason, found.steps[-1].outcome) == (Reason.ADDRESS_NOT_APPROVED, "refused")


def test_a_secret_that_is_missing() -> None:
    tls = Origination(client_certificate=ClientCertificate("mine"))
    assert say(Question("a.test", 80), EgressHost("a.test", "p/a", tls=tls)).steps[-1].code == "BZ0203"
    files = Origination(client_certificate=ClientCertificate("mine", chain_file="/c", key_file="/k"))
    assert say(Question("a.test", 80), EgressHost("a.test", "p/a", tls=files)).steps[-1].outcome == "ok"


def test_what_a_gateway_leads_to_it_verifies() -> None:
    gate, tls = GatewayRef("gate.egress", 8443), Origination(client_certificate=ClientCertificate("mine"))
    found = say(Question("a.test", 80), EgressHost("a.test", "p/a", tls=tls, gateway=gate))
    approval, verification = found.steps[1:]
    assert found.gateway == approval.facts["gateway"] == "gate.egress port 8443"
    plain = say(Question("a.test", 80), EgressHost("a.test", "p/a", gateway=gate)).steps[-1]
    assert "TLS 1.2 or newer by the gateway" in plain.words
    assert "roots" not in plain.facts       # the gateway holds those
    assert (verification.outcome, verification.words.startswith("by the gateway gate.egress port 8443")) == ("ok", True)
    ranged = say(Question("198.51.100.1", 9), ranges=(EgressRange("198.51.100.0/24", "far", gateway=gate),))
    assert ranged.gateway == "gate.egress port 8443"


def test_a_name_that_the_dns_guard_would_refuse() -> None:
    name = "q7x2k9w4m1z8v3p6abcdefghijlnorstuy.store.example"
    for kind in ("plain", "tls"):
        approval = say(Question(name, 80 if kind == "plain" else 443, kind=kind), EgressHost("*.store.example", "p/a")).steps[1]
        assert (approval.outcome, approval.code) == ("refused", "BZ0212")
        assert "labelBits" in approval.words
    named = EgressHost("*.store.example", "p/a", plain_ports=(), tls_ports=(), tcp_ports=(5432,))
    assert "labelBits" in say(Question(name, 5432, kind="tcp"), named).steps[1].facts["the DNS guard"]
    assert "the DNS guard" not in say(Question("eu.store.example", 80), EgressHost("*.store.example", "p/a")).steps[1].facts
