from typing import Any

import msgspec

from injector.audit.join import IN_MEMORY_BYTES, Connection, Side, Spill, bytes_differ, differences, pair
from sidecar.model.ledger import Entry

from .support import NOW, ORDERS, WEB

SERVER = Entry(
    "connection", id="1", time=NOW, direction="inbound", security="mtls", local=ORDERS, peer=WEB, serial="b", peer_serial="a",
    tls="TLSv1.3", suite="S", received=10, sent=20,
)
CLIENT = msgspec.structs.replace(
    SERVER, direction="outbound", local=WEB, peer=ORDERS, serial="a", peer_serial="b", received=20, sent=10)


def side(entry: Entry, ledger: int = 0, *, is_sound: bool = True, is_within: bool = True, **more: Any) -> Side:
    return Side(msgspec.structs.replace(entry, **more), ledger, is_sound, is_within)


def joined(*sides: Side) -> list[Connection]:
    spill = Spill()
    try:
        for one in sides:
            spill.add(one)
        return list(spill.connections())
    finally:
        spill.close()


def test_both_ends_are_one_connection() -> None:
    [one] = joined(side(CLIENT, 0), side(SERVER, 1))
    assert (one.client, one.server) == (side(CLIENT, 0), side(SERVER, 1))
    assert (one.caller, one.destination, one.main, one.is_mtls) == (WEB, ORDERS, one.server, True)


def test_one_end_alone_is_one_too() -> None:
    [one] = joined(side(CLIENT))
    assert (one.caller, one.destination, len(one.sides)) == (WEB, ORDERS, 1)
    [one] = joined(side(SERVER))
    assert (one.caller, one.destination, len(one.sides)) == (WEB, ORDERS, 1)


def test_other_ids_are_other_connections() -> None:
    assert len(joined(side(CLIENT), side(SERVER, 1, id="2"))) == 2


def test_a_later_line_of_one_ledger_replaces_the_earlier() -> None:
    interim = [side(CLIENT, received=number, is_open=True) for number in (1, 2)]
    [one] = joined(*interim, side(SERVER, 1), side(CLIENT, received=3))
    assert one.client is not None
    assert one.client.entry.received == 3


def test_lines_without_an_id_are_connections_of_their_own() -> None:
    assert len(joined(*[side(SERVER, id="", security="plaintext")] * 3, side(SERVER, id="", is_within=False))) == 3


def test_what_lies_outside_of_the_period_is_a_counterpart_only() -> None:
    assert joined(side(CLIENT, is_within=False)) == joined(side(SERVER, is_within=False)) == []
    assert joined(side(CLIENT, is_within=False), side(SERVER, 1, is_within=False)) == []
    [one] = joined(side(CLIENT, is_within=False), side(SERVER, 1))
    assert one.client is not None
    [one] = joined(side(CLIENT, received=1), side(CLIENT, received=2, is_within=False))     # its end came after the period
    assert one.main.entry.received == 1


def test_a_copied_id_does_not_hide_the_true_record() -> None:
    forged = side(CLIENT, 2, local="spiffe://mesh/ns/shop/sa/thief", serial="f")
    for order in ([forged, side(CLIENT, 0)], [side(CLIENT, 0), forged]):
        found = list(pair([*order, side(SERVER, 1)]))
        assert Connection(side(CLIENT, 0), side(SERVER, 1)) in found
        assert Connection(forged, None) in found


def test_each_way_to_differ_is_named() -> None:
    assert differences(CLIENT, SERVER) == []
    for field, name in (
        ("security", "security"), ("tls", "TLS version"), ("suite", "cipher suite"), ("local", "the caller's identity"),
        ("peer", "the destination's identity"), ("serial", "the caller's certificate"), ("peer_serial", "the destination's certificate"),
    ):
        assert differences(msgspec.structs.replace(CLIENT, **{field: "x"}), SERVER) == [name]


def test_bytes_are_compared_crosswise_once_both_have_ended_well() -> None:
    fewer = msgspec.structs.replace(SERVER, received=9)
    assert not bytes_differ(CLIENT, SERVER)
    assert bytes_differ(CLIENT, fewer)
    assert not bytes_differ(CLIENT, msgspec.structs.replace(fewer, is_open=True))
    assert not bytes_differ(msgspec.structs.replace(CLIENT, decision="failed"), fewer)


def test_many_lines_go_to_the_disk_and_come_back() -> None:
    """More than the buckets keep in memory, in one bucket: nothing is lost."""
    detail = "x" * 4000
    count = IN_MEMORY_BYTES // 4000 + 50
    found = joined(*(side(SERVER, id="", detail=detail, requests=number) for number in range(count)))
    assert sorted(one.main.entry.requests for one in found) == list(range(count))
