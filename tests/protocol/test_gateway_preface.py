"""Any bytes: one preface in its one spelling, a wish for more, or ValueError; of an answer likewise. Whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.reason import Reason
from sidecar.protocol.gateway_preface import (
    MAX_DETAIL_BYTES,
    MAX_PREFACE_BYTES,
    OK,
    Preface,
    Refusal,
    read_answer,
    read_preface,
    render_preface,
    render_refusal,
)

LONGEST = ".".join(["a" * 63] * 3 + ["b" * 61])


@pytest.mark.parametrize(("preface", "text"), [
    (Preface("tls", "api.partner.example", 443), b"bartizan-egress/1 tls api.partner.example:443\n"),
    (Preface("http1", "api.partner.example", 80), b"bartizan-egress/1 http1 api.partner.example:80\n"),
    (Preface("http2", "[2001:db8::1]", 65535), b"bartizan-egress/1 http2 [2001:db8::1]:65535\n"),
    (Preface("tcp", "192.0.2.1", 1), b"bartizan-egress/1 tcp 192.0.2.1:1\n"),
    (Preface("tcp", LONGEST, 65535), f"bartizan-egress/1 tcp {LONGEST}:65535\n".encode()),
])
def test_one_line_says_what_and_where_to(preface: Preface, text: bytes) -> None:
    assert render_preface(preface) == text
    for length in range(len(text)):
        assert read_preface(text[:length]) is None
    assert read_preface(text) == preface


@pytest.mark.parametrize("text", [
    b"\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\n", b"bartizan-egress/1 tls a.example:443\r\n",
    b"bartizan-egress/2 tls a.example:443\n", b"bartizan-egress/1 udp a.example:443\n", b"bartizan-egress/1 TLS a.example:443\n",
    b"bartizan-egress/1  tls a.example:443\n", b" bartizan-egress/1 tls a.example:443\n", b"bartizan-egress/1 tls a.example:443 \n",
    b"bartizan-egress/1 tls a.example\n", b"bartizan-egress/1 tls a.example:\n", b"bartizan-egress/1 tls :443\n",
    b"bartizan-egress/1 tls a.example:0443\n", b"bartizan-egress/1 tls a.example:0\n", b"bartizan-egress/1 tls a.example:65536\n",
    b"bartizan-egress/1 tls A.example:443\n", b"bartizan-egress/1 tls a.example.:443\n", b"bartizan-egress/1 tls a\x00.example:443\n",
    b"bartizan-egress/1 tls u@a.example:443\n", b"bartizan-egress/1 tls a.example/x:443\n", b"bartizan-egress/1 tls *.example:443\n",
    b"bartizan-egress/1 tcp 127.1:443\n", b"bartizan-egress/1 tcp 0x7f.0.0.1:443\n", b"bartizan-egress/1 tcp 2130706433:443\n",
    b"bartizan-egress/1 tcp [::ffff:192.0.2.1]:443\n", b"bartizan-egress/1 tcp [2001:DB8::1]:443\n",
    b"bartizan-egress/1 tcp 2001:db8::1:443\n",
    b"bartizan-egress/1 tcp [fe80::1%eth0]:443\n", b"bartizan-egress/1 tls \xc3\xa4.example:443\n",
    b"bartizan-egress/1 tls a.example:443\nx", b"bartizan-egress/1 tls a.example:443\nbartizan-egress/1 tls b.example:443\n",
    b"x" * MAX_PREFACE_BYTES, b"bartizan-egress/1 tls " + b"a" * 300 + b":443\n",
])
def test_everything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        read_preface(text)


@given(st.binary(max_size=400) | st.from_regex(rb"bartizan-egress/1 (tls|tcp) [!-~]{1,60}\n", fullmatch=True))
def test_what_is_read_has_one_spelling(data: bytes) -> None:
    try:
        preface = read_preface(data)
    except ValueError:
        return
    assert preface is None or render_preface(preface) == data


def test_the_answer_ok() -> None:
    assert [read_answer(OK[:length]) for length in range(4)] == [False, False, False, True]


def test_the_answer_no() -> None:
    text = render_refusal(Reason.HOST_NOT_APPROVED, "a \u2603\n is not")
    assert text == b"no BZ0201 a ?? is not\n"
    for length in range(len(text)):
        assert read_answer(text[:length]) is False
    assert read_answer(text) == Refusal(Reason.HOST_NOT_APPROVED, "a ?? is not")


@pytest.mark.parametrize("detail", ["", "x" * 5000, "\ud800"])
def test_whatever_the_detail_is_it_is_one_answer(detail: str) -> None:
    answer = read_answer(render_refusal(Reason.SPECIAL_ADDRESS, detail))
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.SPECIAL_ADDRESS
    assert len(answer.detail) <= MAX_DETAIL_BYTES


def test_a_reason_of_a_later_version() -> None:
    assert read_answer(b"no BZ0999 so it is\n") == Refusal(None, "so it is")


@pytest.mark.parametrize("data", [
    b"\n", b"OK\n", b"k", b"ok ", b"okay\n", b"yes\n", b"no\n", b"no BZ1\n", b"no BZ0201x\n", b"no BZ0201 \x1b[31m\n", b"no BZ0201 a\nb\n",
    b"ok\nno BZ0201\n", b"HTTP/1.1 200 OK\r\n", b"no " + b"x" * 500,
])
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_answer(data)


@given(st.binary(max_size=600))
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    try:
        assert isinstance(read_answer(data), bool | Refusal)
    except ValueError:
        pass
