"""The word of an ingress gateway about a client: what it says comes back, and nothing else is taken for one."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.model.client import Client, ClientCertificate, ClientWord
from sidecar.protocol.client_word import MOST_SUBJECT_BYTES, read_word, word_of

CLIENT = Client("192.0.2.7", "https", 443, "www.example.com")
CERTIFICATE = ClientCertificate("CN=ann,O=Ex\\, Inc.", "ann", (), (), (), "ab" * 32, 2e9)
GOOD = {"address": "192.0.2.7", "scheme": "https", "host": "www.example.com:8443", "port": 443}
# As `protocol/framing.py` has the values of fields.
VALUE = re.compile(rb"(?![ \t])[\t -~\x80-\xff]*+(?<![ \t])")


@pytest.mark.parametrize(("host", "port", "said"), [
    (b"www.example.com", None, "www.example.com"), (b"www.example.com", 8443, "www.example.com:8443"),
    (b"[2001:db8::1]", 80, "[2001:db8::1]:80"),
])
def test_what_is_said_is_read(host: bytes, port: int | None, said: str) -> None:
    assert read_word([word_of(CLIENT, host, port)]) == ClientWord("192.0.2.7", "https", said, 443)
    assert word_of(CLIENT, b"a", None) == b'{"address":"192.0.2.7","scheme":"https","host":"a","port":443}'


def test_a_certificate_is_told() -> None:
    word = read_word([word_of(replace(CLIENT, certificate=CERTIFICATE), b"a", None)])
    assert word == ClientWord("192.0.2.7", "https", "a", 443, "CN=ann,O=Ex%5C, Inc.", "ab" * 32)


@given(st.text(max_size=600))
def test_any_subject_is_one_plain_field_or_none(subject: str) -> None:
    """Whatever a certificate's subject is: a value that no reader of HTTP refuses or splits, which says that subject or none."""
    certificate = replace(CERTIFICATE, subject=subject.encode("utf-8", "replace").decode())
    value = word_of(replace(CLIENT, certificate=certificate), b"a", None)
    assert VALUE.fullmatch(value)
    word = read_word([value])
    assert word is not None
    assert word.hash == "ab" * 32


def test_a_long_subject_is_left_out_and_not_cut() -> None:
    word = read_word([word_of(replace(CLIENT, certificate=replace(CERTIFICATE, subject="x" * (MOST_SUBJECT_BYTES + 1))), b"a", None)])
    assert word is not None
    assert (word.subject, word.hash) == ("", "ab" * 32)


@pytest.mark.parametrize("change", [
    {"address": "192.0.2.7\r\nx: y"}, {"address": "::ffff:192.0.2.7"}, {"address": "192.0.2.07"}, {"address": ""}, {"address": "a"},
    {"address": None}, {"scheme": "ftp"}, {"host": ""}, {"host": "A"}, {"host": "a b"}, {"host": "a\n"}, {"host": 'a"'}, {"host": "a;b"},
    {"port": 0}, {"port": 65536}, {"port": "443"}, {"subject": 'a"b'}, {"subject": "a\\b"}, {"subject": "a\u00e9"}, {"subject": "a\nb"},
    {"hash": "ab"}, {"hash": "AB" * 32}, {"more": 1},
])
def test_what_is_no_word_is_ignored(change: dict[str, object]) -> None:
    assert read_word([json.dumps(GOOD).encode()]) is not None
    assert read_word([json.dumps(GOOD | change).encode()]) is None


@pytest.mark.parametrize("values", [
    [], [b""], [b"{"], [b"[]"], [b"null"], [b"\xff"], [b"[" * 50000], [json.dumps(GOOD).encode()] * 2, [b'{"address":"192.0.2.7"}'],
])
def test_malformed_or_repeated_is_ignored(values: list[bytes]) -> None:
    assert read_word(values) is None
