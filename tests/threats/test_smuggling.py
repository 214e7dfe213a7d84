"""Where does this body end? S1 to S3, S8 to S10, S16, S19: two hops must never give two answers.

Each attack hides a request for /smuggled, or makes the canary behind it a part of itself; `helpers/attack.py` asserts what holds
for all of them, this file what becomes of each.
"""

import re

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.attack import Chain, canary, is_refused, request
from tests.helpers.strict_http import read_responses

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: shop.test\r\n\r\n"
LAST = b"0\r\n\r\n"
BOTH = LAST + SMUGGLED          # by chunks it ends after five bytes, by length it is all a body
LENGTH = b"content-length: %d" % len(BOTH)
CHUNKED = b"transfer-encoding: chunked"


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return request(b"/", *fields, method=b"POST") + body


def named(row: str, table: dict[str, bytes]) -> list[object]:
    return [pytest.param(payload, id=f"{row}-{name}") for name, payload in table.items()]


def numbered(row: str, payloads: list[bytes]) -> list[object]:
    return [pytest.param(payload, id=f"{row}-{number}") for number, payload in enumerate(payloads)]


# -- S1: Content-Length and Transfer-Encoding

S1 = {
    "CL-TE": post(LENGTH, CHUNKED, body=BOTH),
    "TE-CL": post(CHUNKED, LENGTH, body=BOTH),
    "CL-first-byte": post(b"content-length: 1", CHUNKED, body=BOTH),
    "CL-zero": post(b"content-length: 0", CHUNKED, body=BOTH),
    "TE-CL-zero": post(CHUNKED, b"content-length: 0", body=BOTH),
    "CL-far-above": post(CHUNKED, b"content-length: 4000000000", body=BOTH),
    "upper-case": post(b"CONTENT-LENGTH: 5", b"TRANSFER-ENCODING: CHUNKED", body=BOTH),
    "apart": post(LENGTH, *[b"x-%d: 1" % i for i in range(50)], CHUNKED, body=BOTH),
    "GET": request(b"/", LENGTH, CHUNKED) + BOTH,
    "HEAD": request(b"/", LENGTH, CHUNKED, method=b"HEAD") + BOTH,
    "OPTIONS": request(b"*", LENGTH, CHUNKED, method=b"OPTIONS") + BOTH,
    "CL-TE-CL": post(b"content-length: 5", CHUNKED, LENGTH, body=BOTH),
    "CL-empty": post(b"content-length:", CHUNKED, body=BOTH),
    "CL-broken": post(b"content-length: x", CHUNKED, body=BOTH),
    "nominated": post(LENGTH, CHUNKED, b"connection: content-length", body=BOTH),
    "TE-nominated": post(LENGTH, CHUNKED, b"connection: transfer-encoding", body=BOTH),
    "with-expect": post(LENGTH, CHUNKED, b"expect: 100-continue", body=BOTH),
}

# -- S2: Transfer-Encoding in disguise. Each with a Content-Length that says otherwise, and alone.

CODINGS = [
    b"xchunked", b"chunkedx", b"chunked,", b",chunked", b", chunked", b"chunked, chunked", b"chunked,chunked", b"chunked, identity",
    b"identity, chunked", b"identity", b"gzip, chunked", b"chunked, gzip", b"gzip", b"x", b"", b"chunk", b"chunke", b"hunked",
    b"chunked;", b"chunked; q=1", b"chunked;ext", b'"chunked"', b"'chunked'", b"chunked chunked", b"chunked\x0b", b"\x0bchunked",
    b"chunked\x0c", b"\x0cchunked", b"chunked\x00", b"\x00chunked", b"chunked\xa0", b"\xa0chunked", b"chunked\x85", b"\x85chunked",
    b"chunked\x1f", b"chunked\x7f", b"\xef\xbb\xbfchunked", b"chun\tked", b"chun ked", b"ch\xc5\xbfunked", b"chunked\r", b"\rchunked",
    b"\nchunked", b"chunked\n", b"x\r\n chunked", b"x\r\n\tchunked", b"\r\n chunked", b"chunked\r\n x", b"c\xcd\x80hunked", b"chunKED,x",
    b"trailers, chunked", b"deflate;q=0, chunked", b"*", b"chunked/1", b"=chunked", b"\\chunked", b"(a) chunked", b"chunked (a)",
    b"chunked%00", b"%63hunked", b"&#99;hunked",
]
NAMES = [
    b"transfer-encoding : chunked", b"transfer-encoding\t: chunked", b"transfer_encoding: chunked", b"transfer encoding: chunked",
    b" transfer-encoding: chunked", b"\ttransfer-encoding: chunked", b"transfer-encoding\x0b: chunked", b"transfer-encoding\x00: chunked",
    b"transfer-encoding", b": chunked\r\ntransfer-encoding: chunked", b"transfer-encoding\r: chunked", b"transfer-\r\nencoding: chunked",
    b"x: y\ntransfer-encoding: chunked", b"x: y\rtransfer-encoding: chunked", b"x: y\n transfer-encoding: chunked",
    b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", b"transfer-encoding: chunked\r\ntransfer-encoding: identity",
    b"transfer-encoding: identity\r\ntransfer-encoding: chunked", b"transfer-encoding: chunked\r\nTransfer-Encoding: x",
    b"transfer-encoding:\r\ntransfer-encoding: chunked", b"transfer\x2dencoding\xad: chunked", b"tran\xc5\xbffer-encoding: chunked",
    b"(transfer-encoding): chunked", b"transfer-encoding@: chunked", b"\"transfer-encoding\": chunked", b"transfer-encoding;: chunked",
]
DISGUISED = [b"transfer-encoding: " + coding for coding in CODINGS] + NAMES
S2 = [post(LENGTH, line, body=BOTH) for line in DISGUISED] + [post(line, body=BOTH) for line in DISGUISED]

# -- S3: Content-Length

LENGTHS = [
    b"+5", b"-5", b"-0", b"0x5", b"0X5", b"5_0", b"5.0", b"5e0", b"", b" ", b"5 5", b"5, 5", b"5,5", b"5,", b",5", b"5;5", b"5\x0b",
    b"\x0b5",
    b"5\x0c", b"5\x00", b"\x005", b"5\xa0", b"\xd9\xa5", b"\xef\xbc\x95", b"\xb2", b"'5'", b'"5"', b"five", b"0b101", b"0o5", b"05h",
    b"5 0",
    b"5\t5", b"18446744073709551615", b"18446744073709551616", b"18446744073709551621", b"9223372036854775808", b"99999999999999999999",
    b"1" * 400, b"0" * 400 + b"5", b"1e1000", b"inf", b"nan", b"5\r\n 0", b"5\r\n\t0", b"5\r", b"\r5", b"\n5", b"%35", b"5)", b"5/1", b"5#",
    b"=5",
]
S3 = [post(b"content-length: " + length, body=b"hello") for length in LENGTHS] + [
    post(b"content-length: 5", b"content-length: 5", body=b"hello"),
    post(b"content-length: 5", b"Content-Length: 6", body=b"hello"),
    post(b"content-length: 0", b"content-length: 5", body=b"hello"),
    post(b"content-length: 5", b"content-length: 0", body=b"hello"),
    post(b"content-length: 5", b"content-length:", body=b"hello"),
    post(b"content_length: 5", body=b"hello"),
    post(b"content length: 5", body=b"hello"),
    post(b"content-length : 5", body=b"hello"),
    post(b"content-length\x00: 5", body=b"hello"),
    post(b"content-length\xa0: 5", body=b"hello"),
]

# -- S8: extensions of chunks, S9: their sizes

S8 = {
    "cr-inside": b"5;a\rb\r\nhello\r\n" + LAST,
    "lf-inside": b"5;a\nb\r\nhello\r\n" + LAST,
    "lf-ends": b"5;a\nhello\r\n" + LAST,
    "crlf-in-quotes": b'5;a="\r\n"\r\nhello\r\n' + LAST,
    "lf-in-quotes": b'5;a="\n"\r\nhello\r\n' + LAST,
    "cr-in-quotes": b'5;a="\r"\r\nhello\r\n' + LAST,
    "unclosed-quotes": b'5;a="b\r\nhello\r\n' + LAST,
    "nul": b"5;\x00\r\nhello\r\n" + LAST,
    "no-name": b"5;\r\nhello\r\n" + LAST,
    "no-value": b"5;a=\r\nhello\r\n" + LAST,
    "space": b"5; a\r\nhello\r\n" + LAST,
    "100-KB": b"5;" + b"a" * 100_000 + b"\r\nhello\r\n" + LAST,
    "4-KiB-and-one": b"5;" + b"a" * 4095 + b"\r\nhello\r\n" + LAST,
    "on-the-last": b"5\r\nhello\r\n0;" + b"a" * 5000 + b"\r\n\r\n",
    "many-tiny-chunks": b"1;aaaaaaaaaaaaaaa\r\nx\r\n" * 1100 + LAST,
    "1-MB-of-them": (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 1000 + LAST,
}
SIZES = [
    b"0x5", b"0X5", b"+5", b"-5", b"-0", b"5_", b"_5", b" 5", b"\t5", b"5 ", b"5\t", b"5\x0b", b"5\x00", b"\x005", b"5\xa0", b"5g", b"g",
    b"", b"'5'",
    b"5.", b"5,5", b"\xd9\xa5", b"\xef\xbc\x95", b"00000000000000005", b"10000000000000005", b"8000000000000000", b"ffffffffffffffff",
    b"5" * 40, b"5\r", b"\r5", b"\n5", b"5 ;a", b"0 ", b"00x", b"0;", b"h", b"0x", b"#5", b"%35", b"5h",
]
S9_BODIES = {
    "no-crlf-after-size": b"5hello\r\n" + LAST,
    "lf-after-size": b"5\nhello\r\n" + LAST,
    "cr-after-size": b"5\rhello\r\n" + LAST,
    "lf-after-data": b"5\r\nhello\n" + LAST,
    "cr-after-data": b"5\r\nhello\r" + LAST,
    "nothing-after-data": b"5\r\nhello" + LAST,
    "too-much-data": b"5\r\nhello!\r\n" + LAST,
    "too-little-data": b"5\r\nhell\r\n" + LAST,
    "cr-cr-lf": b"5\r\r\nhello\r\n" + LAST,
    "lf-lf-at-the-end": b"5\r\nhello\r\n0\n\n",
    "lf-at-the-end": b"5\r\nhello\r\n0\r\n\n",
    "cr-at-the-end": b"5\r\nhello\r\n0\r\n\r\r\n",
    "empty-line-first": b"\r\n5\r\nhello\r\n" + LAST,
    "a-request": b"GET /smuggled HTTP/1.1\r\nhost: shop.test\r\n\r\n",
}
S9 = [post(CHUNKED, body=size + b"\r\nhello\r\n" + LAST) for size in SIZES]

REFUSED = [
    *named("S1", S1), *numbered("S2", S2), *numbered("S3", S3),
    *named("S8", {name: post(CHUNKED, body=body) for name, body in S8.items()}),
    *numbered("S9", S9), *named("S9", {name: post(CHUNKED, body=body) for name, body in S9_BODIES.items()}),
]


@pytest.mark.parametrize("payload", REFUSED)
async def test_a_body_with_two_ends_is_refused(payload: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whatever arrives with the head, and behind it: refused before the origin hears of it, or in the middle and cut."""
    chain = Chain(nursery)
    whole = await chain.attack(payload)
    assert is_refused(whole) or is_cut(whole), whole
    head, end, body = payload.partition(b"\r\n\r\n")
    apart = await chain.attack(head + end, body)
    assert is_refused(apart) or is_cut(apart), apart


def is_cut(outcome: object) -> bool:
    """The head had gone on when the body turned out to be bad: the origin never sees the body's end, nobody is served behind it."""
    statuses, begun, forwarded, on = (getattr(outcome, name) for name in ("statuses", "begun", "forwarded", "is_served_on"))
    return (
        statuses in ([400], []) and not forwarded and not on and len(begun) >= 1
        and all(b"\r\n\r\n" in piece and not piece.endswith(LAST) and b"smuggled" not in piece for piece in begun)
    )


async def test_S1_by_mtls_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery, is_meshed=True)
    for payload in S1.values():
        assert is_refused(await chain.attack(payload))
    assert (await chain.attack(request())).is_served_on


GOOD_CODINGS = [b"chunked", b"Chunked", b"CHUNKED", b"cHuNkEd", b"  chunked", b"chunked  ", b"\tchunked\t"]


@pytest.mark.parametrize("coding", [pytest.param(coding, id=f"S2-good-{number}") for number, coding in enumerate(GOOD_CODINGS)])
async def test_the_one_coding_that_is_taken(coding: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    outcome = await Chain(nursery).attack(post(b"transfer-encoding:" + coding, body=b"5\r\nhello\r\n" + LAST))
    (message,) = outcome.forwarded
    assert (outcome.statuses, outcome.is_served_on, message.body) == ([200], True, b"hello")
    assert message.values(b"transfer-encoding") == [b"chunked"]


@pytest.mark.parametrize("line", [
    pytest.param(line, id=f"S2-other-{line.decode()}") for line in (
        b"x-transfer-encoding: chunked", b"transfer-encodin: chunked", b"transferencoding: chunked", b"transfer--encoding: chunked",
        b"transfer.encoding: chunked", b"content-encoding: chunked", b"te: chunked", b"transfer-encoding-: chunked",
    )
])
async def test_a_field_of_another_name_says_nothing_of_the_end(line: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    outcome = await Chain(nursery).attack(post(LENGTH, line, body=BOTH))
    assert [message.body for message in outcome.forwarded] == [BOTH]
    assert outcome.is_served_on


@pytest.mark.parametrize(("given", "length"), [
    pytest.param(given, length, id=f"S3-good-{given.decode()}") for given, length in (
        (b"5", b"5"), (b"05", b"5"), (b"0000005", b"5"), (b"  5\t", b"5"), (b"000000000000000005", b"5"),
    )
])
async def test_a_length_is_said_anew(given: bytes, length: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that reads 010 as eight would take two bytes of the body for a request."""
    outcome = await Chain(nursery).attack(post(b"content-length:" + given, body=b"hello"))
    (message,) = outcome.forwarded
    assert (message.values(b"content-length"), message.body, outcome.is_served_on) == ([length], b"hello", True)


async def test_S8_good_extensions_are_dropped(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    outcome = await Chain(nursery).attack(post(CHUNKED, body=b'5;a;b=c;d="e;\\" f"\r\nhello\r\n0;z="\r"\r\n\r\n'.replace(b"\r\"", b'"')))
    assert [message.body for message in outcome.forwarded] == [b"hello"]
    assert outcome.is_served_on


@pytest.mark.parametrize("end", [
    pytest.param(end, id=f"S9-{name}") for name, end in {
        "no-end": b"", "no-last-chunk": b"5\r\nhello\r\n", "half-a-size": b"5", "half-a-chunk": b"5\r\nhel",
        "half-an-end": b"5\r\nhello\r\n0\r\n",
        "half-a-crlf": b"5\r\nhello\r\n0\r\n\r",
    }.items()
])
async def test_a_body_without_end_has_none_for_the_origin_either(
    end: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain = Chain(nursery)
    await chain.say(canary("before"))
    await chain.say(post(CHUNKED), end)
    (begun,) = chain.origin.begun
    assert not begun.endswith(LAST)
    assert b"200 OK" in await chain.say(canary("after"))
    assert [message.start[1] for message in chain.origin.messages] == [b"/canary-before", b"/canary-after"]


# -- S10: trailers

TRAILERS = [
    b"content-length: 5", b"Content-Length: 0", b"transfer-encoding: chunked", b"host: evil.test", b"HOST: evil.test",
    b"authorization: Bearer evil",
    b"proxy-authorization: evil", b"cookie: evil=1", b"set-cookie: evil=1", b"x-forwarded-client-cert: URI=evil", b"X-Forwarded-For: evil",
    b"x-forwarded-proto: evil", b"x_forwarded_for: evil", b"forwarded: for=evil", b"x-real-ip: evil", b"x-bartizan-tls: evil",
    b"x-envoy-a: evil",
    b"l5d-a: evil", b"connection: evil", b"upgrade: evil", b"te: evil", b"trailer: evil", b"expect: 100-continue", b"content-type: evil",
    b"content-encoding: evil", b"cache-control: evil", b"range: bytes=evil", b"if-match: evil", b"x-request-id: evil", b"traceparent: evil",
    b"client-cert: :evil:", b"max-forwards: 0", b"keep-alive: evil", b"proxy-connection: evil", b"http2-settings: evil",
]


@pytest.mark.parametrize("says_te", [pytest.param(False, id="S10"), pytest.param(True, id="S10-te")])
async def test_no_trailer_that_could_mislead_goes_on(says_te: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery)
    fields = [CHUNKED, b"trailer: host", *([b"te: trailers", b"connection: te"] if says_te else [])]
    for line in TRAILERS:
        outcome = await chain.attack(post(*fields, body=b"5\r\nhello\r\n"), b"0\r\n" + line + b"\r\n\r\n")
        if outcome.statuses == [200]:
            (message,) = outcome.forwarded
            assert (message.body, message.trailers, message.values(b"host")) == (b"hello", [], [b"shop.test"])
            assert not any(b"evil" in value for _, value in message.fields)
            whole = await chain.attack(post(*fields, body=b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n"))
            assert whole.forwarded[0].trailers == []
        else:
            assert outcome.statuses == [400]
            assert not outcome.is_served_on


@pytest.mark.parametrize("is_cut_up", [
    pytest.param(True, id="S10-good-in-pieces"),
    pytest.param(False, id="S10-good-at-once"),
])
async def test_a_harmless_trailer_goes_on_where_it_is_taken(is_cut_up: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """However it arrives: what goes on must not hang on how the network cut it up."""
    text = post(CHUNKED, b"te: trailers", b"connection: te", body=b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n")
    at = text.index(b"0\r\nx-sum")
    outcome = await Chain(nursery).attack(*((text[:at], text[at:]) if is_cut_up else (text,)))
    assert outcome.forwarded[0].trailers == [(b"x-sum", b"1")]


@pytest.mark.parametrize("payload", numbered("S10-bad", [
    post(CHUNKED, body=b"0\r\n" + lines + b"\r\n") for lines in (
        b":path: /smuggled\r\n", b"no colon\r\n", b"a : b\r\n", b" a: b\r\n", b"a: b\r\n c\r\n", b"a: \x00\r\n", b"a: b\n", b"a\r: b\r\n",
        b"\na: b\r\n",
        b"(a): b\r\n", b"a: " + b"b" * 16384 + b"\r\n", b"a: b\r\n" * 3000,
    )
]))
async def test_broken_trailers_are_refused(payload: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    outcome = await Chain(nursery).attack(payload)
    assert is_refused(outcome) or is_cut(outcome), outcome


# -- S16: Expect

S16 = [
    b"y 100-continue", b"100-continue y", b"100-continue, 100-continue", b"100-continue,", b",100-continue", b"x-100-continue",
    b"100-continue;a",
    b"100 continue", b"", b"\t", b"200-ok", b"100-continue\x0b", b"\x85100-continue", b"100-continue\xa0", b'"100-continue"',
    b"100-continue\r\nexpect: x",
    b"x\r\nexpect: 100-continue", b"100-continue\r\nExpect: 100-continue", b"100-continue\r\n x", b"x=100-continue",
]


@pytest.mark.parametrize("payload", numbered("S16", [post(b"content-length: 5", b"expect: " + said, body=b"hello") for said in S16]))
async def test_an_expectation_in_disguise_is_refused(payload: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    assert is_refused(await Chain(nursery).attack(payload), 417, 400)


@pytest.mark.parametrize("fields", [
    pytest.param((b"content-length: 0", b"expect: 100-continue"), id="S16-0.CL"),
    pytest.param((b"expect: 100-continue",), id="S16-no-body"),
])
async def test_who_has_no_body_expects_nothing(fields: tuple[bytes, ...], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that answers 100 to it, and reads a body, would take the next request for one."""
    outcome = await Chain(nursery).attack(post(*fields))
    (message,) = outcome.forwarded
    assert (message.values(b"expect"), message.values(b"content-length"), outcome.is_served_on) == ([], [b"0"], True)


# -- S19: pipelining


async def test_S19_a_thousand_pipelined_requests(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery)
    targets = [b"/%d" % number for number in range(1000)]
    answer = await chain.say(b"".join(request(target) for target in targets))
    assert [message.body for message in read_responses(answer)] == [b"GET " + target for target in targets]
    assert [message.start[1] for message in chain.origin.messages] == targets
    assert len(chain.origin.logs) == 1


@pytest.mark.parametrize("bad", numbered("S19-error", [
    b"GET / HTTP/1.1\r\n\r\n", b"GET /../ HTTP/1.1\r\nhost: a\r\n\r\n", b"X\r\n\r\n", b"GET / HTTP/3.0\r\nhost: a\r\n\r\n", S1["CL-TE"],
    b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", post(b"content-length: 5", b"expect: x", body=b"hello"), b"\x00",
]))
async def test_nothing_behind_an_error_is_read(bad: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery)
    outcome = await chain.attack(request(b"/1") + request(b"/2") + bad + request(b"/3") * 5)
    assert outcome.statuses[:2] == [200, 200]
    assert len(outcome.statuses) == 3
    assert outcome.statuses[2] >= 400
    assert [message.start[1] for message in outcome.forwarded] == [b"/1", b"/2"]
    assert not outcome.is_served_on


@pytest.mark.parametrize("field", numbered("S19-close", [
    b"connection: close", b"Connection: Close", b"connection: keep-alive, close", b"connection: x, CLOSE ,y",
]))
async def test_nothing_behind_close_is_served(field: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    outcome = await Chain(nursery).attack(request(b"/1", field) + request(b"/2"))
    assert (outcome.statuses, len(outcome.forwarded), outcome.is_served_on) == ([200], 1, False)


async def test_S19_every_cut_of_a_pipeline_is_the_same_pipeline(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery)
    text = request(b"/1") + post(CHUNKED, body=b"5\r\nhello\r\n" + LAST) + post(b"content-length: 5", body=b"hello") + request(b"/2")
    for cut in range(len(b"GET /"), len(text), 3):    # with less, a Unix socket would have to keep the peek waiting, which it cannot
        outcome = await chain.attack(text[:cut], text[cut:])
        assert outcome.statuses == [200] * 4
        assert [message.body for message in outcome.forwarded] == [b"", b"hello", b"hello", b""]
        # One answer began before its question's end: then the connection ends with it, and the canary goes unserved.
        assert outcome.is_served_on


def test_the_tables_have_their_size() -> None:
    assert len(DISGUISED) >= 60
    assert len(set(S2)) == len(S2)
    assert len(SIZES) + len(S9_BODIES) >= 40
    assert not any(re.fullmatch(rb"[ \t]*chunked[ \t]*", coding, re.IGNORECASE) for coding in CODINGS)
