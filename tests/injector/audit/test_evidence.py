from typing import Any

import msgspec
import pytest

from injector.audit.evidence import is_egress, manner, proof, why_one_sided
from injector.audit.join import Connection, Side
from injector.audit.store import Ledger
from sidecar.model.ledger import Entry

from .support import NOW, ORDERS, WEB
from .test_join import CLIENT, SERVER, side

WHOLE = [Ledger("shop/web-1", identities=[WEB], last=NOW + 90), Ledger("shop/orders-1", identities=[ORDERS], last=NOW + 90)]


def entry(**fields: Any) -> Entry:
    return Entry("connection", **{"direction": "inbound", "security": "mtls", "local": ORDERS, **fields})


@pytest.mark.parametrize(("fields", "expected"), [
    ({}, "mtls"),
    ({"decision": "refused"}, "mtls"),                                              # ended by a revocation: it was one
    ({"security": "plaintext"}, "plaintext"),
    ({"security": ""}, "plaintext"),                                                # in doubt against us
    ({"security": "MTLS"}, "plaintext"),
    ({"security": "tls"}, "plaintext"),                                             # nothing that enters is `tls`
    ({"security": "passthrough"}, "passthrough"),
    ({"security": "in-process"}, "in-process"),
    ({"security": "plaintext", "decision": "refused"}, "none"),
    ({"security": "", "decision": "failed"}, "none"),
    ({"security": "plaintext", "decision": "failed", "requests": 1}, "plaintext"),  # it carried something first
    ({"security": "plaintext", "decision": "failed", "rules": {"db": 1}}, "plaintext"),
    ({"direction": "outbound", "security": "tls", "host": "a.example"}, "egress"),
    ({"direction": "outbound", "security": "passthrough"}, "egress"),
    ({"direction": "outbound", "security": "tls", "host": "a.example", "rules": {"service/a.example": 1}}, "egress"),   # a policy's name
    ({"direction": "outbound", "security": "tls", "peer": WEB}, "plaintext"),       # to a peer of the mesh only mTLS will do
    ({"direction": "outbound", "security": "plaintext", "host": "a.example"}, "egress"),
    ({"direction": "outbound", "security": "plaintext"}, "plaintext"),
    ({"direction": "outbound", "security": "mtls", "host": "orders.shop"}, "mtls"),
])
def test_how_a_connection_was_secured(fields: dict[str, Any], expected: str) -> None:
    one = Side(entry(**fields), 0, True, True)
    assert manner(Connection(one, None) if fields.get("direction") == "outbound" else Connection(None, one)) == expected


def test_two_records_that_cannot_both_be_true() -> None:
    assert manner(Connection(side(CLIENT), side(SERVER, 1))) == "mtls"
    assert manner(Connection(side(CLIENT), side(SERVER, 1, security="plaintext"))) == "contradictory"
    assert manner(Connection(side(CLIENT, serial="f"), side(SERVER, 1))) == "contradictory"


def test_what_proves() -> None:
    assert proof(Connection(side(CLIENT), side(SERVER, 1)), WHOLE) == "both ends"
    assert proof(Connection(None, side(SERVER, 1)), WHOLE) == "one end"
    assert proof(Connection(side(CLIENT, is_sound=False), side(SERVER, 1)), WHOLE) == "doubtful"
    rebuilt = [WHOLE[0], msgspec.structs.replace(WHOLE[1], is_rebuilt=True)]
    assert proof(Connection(side(CLIENT), side(SERVER, 1)), rebuilt) == "doubtful"


@pytest.mark.parametrize(("fields", "ledger", "expected"), [
    ({}, {}, "unexplained"),
    ({"holder": "application"}, {"identities": []}, "held by the application"),
    ({}, {"identities": []}, "no ledger"),
    ({}, {"last": NOW + 59}, "not yet"),
    ({}, {"last": NOW + 59, "has_ended": True}, "unexplained"),
    ({}, {"shed": 1}, "shed"),
    ({}, {"is_cut": True}, "broken"),
    ({}, {"breaks": 1}, "broken"),
])
def test_why_one_end_is_missing(fields: dict[str, Any], ledger: dict[str, Any], expected: str) -> None:
    ledgers = [WHOLE[0], msgspec.structs.replace(WHOLE[1], **ledger)]
    assert why_one_sided(Connection(side(CLIENT, **fields), None), ledgers, {}) == expected


def test_the_very_pod_is_asked_where_its_address_is_known() -> None:
    """An idle replica, whose ledger ends long ago, must not excuse the one that was called."""
    idle = Ledger("shop/orders-2", "uid-2", identities=[ORDERS], last=NOW - 5000)
    ledgers = [msgspec.structs.replace(WHOLE[1], pod="uid-1"), idle]
    called = Connection(side(CLIENT, dst="10.0.0.2:8080"), None)
    assert why_one_sided(called, ledgers, {}) == "not yet"
    assert why_one_sided(called, ledgers, {"10.0.0.2": "uid-1"}) == "unexplained"
    assert why_one_sided(called, ledgers, {"10.0.0.2": "uid-3"}) == "not yet"
    calling = Connection(None, side(SERVER, source="10.0.0.1:4711"))
    assert why_one_sided(calling, [msgspec.structs.replace(WHOLE[0], pod="uid-3"), WHOLE[1]], {"10.0.0.1": "uid-3"}) == "unexplained"


def test_an_end_to_which_no_byte_came_says_nothing() -> None:
    """A client learns late that it was refused: what it says before the first byte is no proof, and no plaintext."""
    silent = {"security": "", "received": 0}
    assert manner(Connection(side(CLIENT, **silent), None)) == "silent"
    assert manner(Connection(side(CLIENT, **silent), side(SERVER, 1, **silent))) == "silent"
    half = Connection(side(CLIENT, **silent), side(SERVER, 1))
    assert (manner(half), proof(half, WHOLE), why_one_sided(half, WHOLE, {})) == ("mtls", "one end", "no byte came")
    assert manner(Connection(side(CLIENT, serial="f", **silent), side(SERVER, 1))) == "contradictory"
    assert manner(Connection(side(CLIENT, security="", received=1), None)) == "plaintext"


def test_what_leads_out() -> None:
    assert is_egress(Entry("refusal", direction="outbound", code="BZ0202"))
    assert not is_egress(Entry("refusal", direction="outbound", code="BZ0502", peer=ORDERS))
    assert not is_egress(Entry("refusal", direction="outbound", host="orders.shop", code="BZ0404", rules={"service/shop/orders": 1}))
    assert is_egress(Entry("refusal", direction="outbound", host="a.example", code="BZ0401", rules={"hosts/a": 1}))
    assert not is_egress(Entry("refusal", direction="inbound", host="a.example", code="BZ0201"))
