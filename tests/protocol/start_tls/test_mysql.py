"""MySQL's greeting, login, and the numbers of what comes then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.start_tls.mysql import (
    CLIENT_PROTOCOL_41,
    CLIENT_SSL,
    MOST_PACKET_BYTES,
    Numbers,
    read_greeting,
    read_login,
    refusal,
    tls_request,
)

CAPABILITIES = 0xF7FE       # what MariaDB 10.11 offers, lower half, with TLS


def packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes((number,)) + payload


def greeting(capabilities: int = CAPABILITIES | CLIENT_SSL, protocol: int = 10) -> bytes:
    return packet(0, bytes((protocol,)) + b"5.5.5-10.11.6-MariaDB\0" + b"\x05\0\0\0" + b"saltsalt\0" + capabilities.to_bytes(2, "little")
                  + b"\x2d\x02\0\xff\x81\x15" + bytes(6) + b"\x1d\0\0\0" + b"salt of twelve\0mysql_native_password\0")


def login(capabilities: int = 0x00A2 | CLIENT_PROTOCOL_41, nothing: bytes = bytes(19)) -> bytes:
    return packet(1, capabilities.to_bytes(4, "little") + b"\0\0\0\x01" + b"\x2d" + nothing + b"\x1d\0\0\0" + b"root\0\x14" + b"p" * 20)


def test_the_greeting_loses_its_offer_and_nothing_else() -> None:
    data = greeting()
    assert [read_greeting(data[:end]) for end in range(len(data))] == [None] * len(data)
    assert read_greeting(data) == greeting(CAPABILITIES & ~CLIENT_SSL)
    assert sum(a != b for a, b in zip(data, read_greeting(data) or b"", strict=True)) == 1


@pytest.mark.parametrize(("data", "words"), [
    (greeting(CAPABILITIES & ~CLIENT_SSL), "does not offer TLS"), (greeting(protocol=9), "4.1 or newer"),
    (greeting(CLIENT_SSL), "4.1 or newer"), (packet(0, b"\x0a5.5.5"), "4.1 or newer"), (packet(0, b"\x0a5.5.5\0"), "4.1 or newer"),
    (packet(0, b"\xff\x10\x04Too many connections"), "Too many connections"), (packet(1, greeting()[4:]), "not well-formed"),
    (greeting() + b"\x07", "bytes behind"), (greeting() + packet(2, b"\0\0\0\x02\0\0\0"), "bytes behind"),
    (packet(0, b""), "not well-formed"),
    (b"220 mail.partner.example ESMTP\r\n", "not well-formed"), ((MOST_PACKET_BYTES + 1).to_bytes(3, "little") + b"\0", "not well-formed"),
])
def test_another_greeting_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_greeting(data)


def test_a_login_becomes_a_request_for_tls_and_then_itself() -> None:
    data = login()
    assert [read_login(data[:end]) for end in range(len(data))] == [None] * len(data)
    found = read_login(data)
    assert found == data[4:]
    # > Protocol::SSLRequest: capabilities with CLIENT_SSL, the largest packet, the character set, nothing
    request = tls_request(found)
    assert request == b"\x20\0\0\x01" + b"\xa2\x0a\0\0" + b"\0\0\0\x01\x2d" + bytes(19) + b"\x1d\0\0\0"
    for size in (1, 5, 6, len(data)):
        assert in_pieces(Numbers().to_server, data, size) == data[:3] + b"\x02" + b"\xa2\x0a\0\0" + data[8:]


def test_nothing_of_the_applications_hides_in_the_request() -> None:
    found = read_login(login(nothing=b"nineteen bytes more"))
    assert found is not None
    assert b"nineteen" not in tls_request(found)
    assert b"root" not in tls_request(found)


@pytest.mark.parametrize(("data", "words"), [
    (login(0x00A2 | CLIENT_PROTOCOL_41 | CLIENT_SSL), "asks for TLS"), (packet(1, login()[4:36]), "4.1 or newer"),
    (login(0x00A2), "4.1 or newer"),
    (packet(0, login()[4:]), "not well-formed"), (login() + b"\x01", "bytes behind"), (packet(1, b"abc"), "4.1|asks for TLS"),
    (b"GET / HTTP/1.1\r\n\r\n", "not well-formed"),
])
def test_another_login_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_login(data)


# The exchange as both sides number it: (from the server?, number here, number there, payload).
SWITCH = [(True, 2, 3, b"\xfemysql_native_password\0salt\0"), (False, 3, 4, b"p" * 20), (True, 4, 5, b"\0\0\0\x02\0\0\0")]
CACHED = [(True, 2, 3, b"\x01\x03"), (True, 3, 4, b"\0\0\0\x02\0\0\0")]
NO_PASSWORD = [(True, 2, 3, b"\xfemysql_native_password\0salt\0"), (False, 3, 4, b""), (True, 4, 5, b"\xff\x15\x04#28000no")]
LONG = [(True, 2, 3, b"\x01" + b"k" * 70_000), (False, 3, 4, b"\xff" * 300), (True, 4, 5, b"\0\0\0\x02\0\0\0")]
COMMAND, ANSWER = packet(0, b"\x03select 1"), packet(1, b"\x01") + packet(2, b"\xffrest")


@pytest.mark.parametrize("exchange", [SWITCH, CACHED, NO_PASSWORD, LONG, [(True, 2, 3, b"\0\0\0\x02\0\0\0")]])
@pytest.mark.parametrize("size", [1, 3, 5, 1 << 20])
def test_numbers_differ_by_one_until_the_login_is_over(exchange: list[tuple[bool, int, int, bytes]], size: int) -> None:
    numbers = Numbers()
    numbers.to_server(login())
    for is_from_server, here, there, payload in exchange:
        pass_on = numbers.to_application if is_from_server else numbers.to_server
        came, goes = (there, here) if is_from_server else (here, there)
        assert in_pieces(pass_on, packet(came, payload), size) == packet(goes, payload)
    assert in_pieces(numbers.to_server, COMMAND, size) == COMMAND
    assert in_pieces(numbers.to_application, ANSWER, size) == ANSWER


def test_what_follows_the_last_answer_in_the_same_piece_is_left_alone() -> None:
    assert Numbers().to_application(packet(3, b"\0ok") + ANSWER) == packet(2, b"\0ok") + ANSWER


def in_pieces(pass_on: object, data: bytes, size: int) -> bytes:
    assert callable(pass_on)
    return b"".join(pass_on(data[at:at + size]) for at in range(0, len(data), size))


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=40))))
def test_any_bytes_keep_their_number(pieces: list[tuple[bool, bytes]]) -> None:
    """Whatever either side sends: no byte is held back, added or lost."""
    numbers = Numbers()
    for is_from_server, data in pieces:
        assert len((numbers.to_application if is_from_server else numbers.to_server)(data)) == len(data)


def test_a_refusal_is_an_error_packet() -> None:
    assert refusal("BZ0213 no", 2) == b"\x0c\0\0\x02\xff\x51\x04BZ0213 no"
