"""PostgreSQL's request for TLS, from both sides."""

import struct

import pytest

from sidecar.protocol.start_tls.postgres import GSS_REQUEST, TLS_REQUEST, asks_for_encryption, read_answer, refusal

STARTUP = struct.pack("!II", 23, 196608) + b"user\0postgres\0\0"
CANCEL = struct.pack("!IIII", 16, 80877102, 7, 9)


def test_the_requests_are_those_of_the_protocol() -> None:
    assert TLS_REQUEST == b"\0\0\0\x08\x04\xd2\x16\x2f"
    assert GSS_REQUEST == b"\0\0\0\x08\x04\xd2\x16\x30"


def test_yes_is_the_one_answer() -> None:
    assert read_answer(b"") is None
    assert read_answer(b"S") == b"S"


@pytest.mark.parametrize(("answer", "words"), [
    (b"N", "does not offer TLS"), (b"NS", "does not offer TLS"), (b"s", "something else"), (b"E\0\0\0\x08FATA", "something else"),
    (b"\x16\x03\x03", "something else"), (b"SS", "behind"), (b"SR\0\0\0\x08\0\0\0\0", "behind"), (b"S\0", "behind"),
])
def test_anything_else_is_refused(answer: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_answer(answer)


@pytest.mark.parametrize(("data", "asks"), [
    (TLS_REQUEST, True), (GSS_REQUEST, True), (TLS_REQUEST + STARTUP, True), (STARTUP, False), (CANCEL, False),
    (b"\x16\x03\x01\x02\0", False), (b"GET / HTTP/1.1", False),
])
def test_what_an_application_begins_with(data: bytes, asks: bool) -> None:
    assert asks_for_encryption(data) is asks
    answers = [asks_for_encryption(data[:end]) for end in range(len(data) + 1)]
    assert answers == sorted(answers, key=(None, asks).index), "it is of two minds about the beginning"


def test_a_refusal_is_an_error_of_the_protocol() -> None:
    message = refusal("BZ0213: a\0b")
    assert message[:1] == b"E"
    assert struct.unpack("!I", message[1:5])[0] == len(message) - 1
    assert message[5:].split(b"\0") == [b"SFATAL", b"VFATAL", b"C08006", b"MBZ0213: a b", b"", b""]
