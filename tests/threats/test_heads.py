"""What does this head say? S4 to S7, S11 to S15, S20, S21: lines, names, values, versions, hosts, targets, upgrades, nominations."""

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.attack import Chain, is_refused, request

CRLF = b"\r\n"
CTL_BUT_TAB = frozenset([*range(9), *range(10, 32), 127])
TOKEN = frozenset(b"!#$%&'*+-.^`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")    # no underscore: stricter than the RFC


def numbered(row: str, payloads: list[bytes]) -> list[object]:
    return [pytest.param(payload, id=f"{row}-{number}") for number, payload in enumerate(payloads)]


def raw(*lines: bytes, end: bytes = CRLF) -> bytes:
    return b"".join(line + end for line in (*lines, b""))


LINE = b"GET /smuggled HTTP/1.1"
HOST = b"host: shop.test"

S4 = [
    raw(LINE, HOST, end=b"\n"), raw(LINE, HOST, end=b"\r"), raw(LINE, HOST, end=b"\n\r"), raw(LINE, HOST, end=b"\r\r\n"),
    LINE + b"\n" + HOST + b"\r\n\r\n", LINE + b"\r\n" + HOST + b"\n\r\n", LINE + b"\r\n" + HOST + b"\r\n\n",
    LINE + b"\r\n" + HOST + b"\n\n",
    raw(LINE, HOST, b"a: b\nc: d"), raw(LINE, HOST, b"a: b\rc: d"), raw(LINE, HOST, b"a: b\r"), raw(LINE, HOST, b"a\r: b"),
    raw(LINE, HOST, b"\ra: b"),
    raw(LINE, HOST, b"a:\rb"), raw(LINE, HOST, b"a\n: b"), raw(LINE, HOST, b"a: \nb"), raw(LINE + b"\r", HOST),
    raw(b"GET /\r HTTP/1.1", HOST),
    raw(b"GET /\nx HTTP/1.1", HOST), raw(LINE, HOST + b"\rx-forwarded-for: evil"), raw(LINE, HOST + b"\ntransfer-encoding: chunked"),
]
S5 = [
    raw(LINE, HOST, b"a: b", b" c"), raw(LINE, HOST, b"a: b", b"\tc"), raw(LINE, HOST, b"a: b", b" "), raw(LINE, b" " + HOST),
    raw(LINE, b"\t" + HOST, HOST), raw(LINE, b" a: b", HOST), raw(LINE, HOST, b"a:", b" chunked"), raw(LINE, b"host:", b" shop.test"),
    raw(LINE, HOST, b" transfer-encoding: chunked"), raw(LINE, HOST, b"a: b", b" ", b" "), raw(LINE, b"", b" ", HOST)[:-2],
]
S6 = [raw(LINE, HOST, line) for line in (
    b"a : b", b"a\t: b", b"a  : b", b": b", b":", b" : b", b"nocolon", b"a b: c", b"a,b: c", b"a(b): c", b'"a": b', b"a/b: c", b"a[0]: b",
    b"a@b: c",
    b"a{b}: c", b"a\\b: c", b"a?b: c", b"a=b: c", b"a<b>: c", b"\xe9: a", b"a\xa0: b", b"x_forwarded_for: evil", b"content_length: 5",
    b"x_real_ip: evil", b"transfer_encoding: chunked", b"_: a", b"a_: b", b"\x80: a", b"\xef\xbb\xbfa: b",
)] + [raw(LINE, HOST + b" ", b"host : evil.test"), raw(LINE, b"host : shop.test"), b"\xef\xbb\xbf" + raw(LINE, HOST)]
S15 = [
    raw(b"CONNECT meta.test:80 HTTP/1.1", b"host: meta.test:80") + b"GET /smuggled HTTP/1.1\r\nhost: meta.test\r\n\r\n",
    raw(b"CONNECT meta.test:80 HTTP/1.1", HOST, b"content-length: 5") + b"hello",
    raw(b"CONNECT / HTTP/1.1", HOST),
    raw(b"CONNECT shop.test:8080 HTTP/1.1", b"host: shop.test:8080", b"transfer-encoding: chunked") + b"0\r\n\r\n",
    raw(b"connect shop.test:80 HTTP/1.1", HOST), raw(b"CONNECT * HTTP/1.1", HOST), raw(b"CONNECT http://shop.test/ HTTP/1.1", HOST),
    raw(b"CONNECT 169.254.169.254:80 HTTP/1.1", b"host: 169.254.169.254:80"),
    raw(b"TRACE / HTTP/1.1", HOST), raw(b"trace / HTTP/1.1", HOST), raw(b"TRACE /smuggled HTTP/1.1", HOST, b"max-forwards: 0"),
]
NOT_SPELT = [
    b"GE T", b"GET\x00", b"G\xc9T", b"(GET)", b"GET,", b"G@T", b"", b"\tGET", b" GET", b"GET:", b"{}", b'"GET"', b"GET/", b"GET;x",
    b"G\x7fT", b"\x01",
]
S21 = [raw(method + b" / HTTP/1.1", HOST) for method in NOT_SPELT]
VERSIONS = [
    b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9", b"HTTP/1.10", b"HTTP/1.01", b"HTTP/01.1", b"HTTP/1", b"HTTP/1.",
    b"HTTP/.1", b"HTTP/11",
    b"HTTP/1,1", b"HTTP/1.1.1", b"HTTP/ 1.1", b"HTTP /1.1", b"HTTP/1 .1", b"http/1.1", b"Http/1.1", b"HTTPS/1.1", b"HTP/1.1", b"XHTTP/1.1",
    b"HTTP/-1.1",
    b"HTTP/+1.1", b"HTTP/1.1x", b"HTTP/1.1 ", b"HTTP/1.1\t", b"HTTP/1.1 HTTP/1.1", b"HTTP/\xd9\xa1.1", b"HTTP/1.1\x00",
    b"HTTP/9999999999.1", b"",
]
S11 = [raw(b"GET /smuggled " + version, HOST) for version in VERSIONS] + [
    b"GET /smuggled\r\n\r\n", b"GET /smuggled\r\n" + raw(HOST), raw(b"GET /smuggled", HOST), raw(b"PRI * HTTP/2.0", HOST),
    raw(b"GET / HTTP/1.0"), raw(b"POST / HTTP/1.0", HOST, b"transfer-encoding: chunked") + b"0\r\n\r\n",
    raw(b"POST / HTTP/1.0", HOST, b"content-length: 5", b"transfer-encoding: chunked") + b"0\r\n\r\n", raw(b"GET / HTTP/1.0", HOST, HOST),
    b"\r\n\r\n" + raw(LINE, HOST),
]
HOSTS = [
    b"", b" ", b"shop.test,evil.test", b"shop.test, evil.test", b"shop.test evil.test", b"a@shop.test", b"a:b@shop.test", b"shop.test/",
    b"shop.test/x",
    b"shop.test?x", b"shop.test#x", b"http://shop.test", b"shop..test", b".shop.test", b"shop.test..", b".", b"*", b"*.test", b"shop.test:",
    b"shop.test:0",
    b"shop.test:65536", b"shop.test:80:80", b"shop.test:+80", b"shop.test:8a", b"shop.test:\xd9\xa0", b"shop.test: 80", b"shop.test :80",
    b"[::1", b"::1", b"[::1%eth0]",
    b"[::1%25eth0]", b"[]", b"[::g]", b"[1.2.3.4]", b"[::1]x", b"1.2.3", b"127.1", b"2130706433", b"0x7f.0.0.1", b"0177.0.0.1",
    b"1.2.3.4.5", b"256.1.1.1",
    b"sh\xc3\xb6p.test", b"shop%2etest", b"shop%00.test", b"shop\\test", b"shop_a.test", b"-shop.test", b"shop-.test", b"a" * 64 + b".test",
    b"a." * 127 + b"test",
    b"shop.test\x00", b"shop.test\x0b", b"shop\ttest", b"'shop.test'", b'"shop.test"', b"(shop.test)", b"shop.test;", b"shop!test",
    b"shop|test",
]
S12 = [raw(LINE, b"host: " + host) for host in HOSTS] + [
    raw(LINE), raw(LINE, HOST, HOST), raw(LINE, HOST, b"host: evil.test"), raw(LINE, b"HOST: evil.test", HOST), raw(LINE, HOST, b"host:"),
    raw(LINE, b"x-host: shop.test"), raw(b"GET http://evil.test/ HTTP/1.1", HOST), raw(b"GET http://shop.test:81/ HTTP/1.1", HOST),
    raw(b"GET http://a@shop.test/ HTTP/1.1", HOST), raw(b"GET http:///x HTTP/1.1", HOST),
    raw(b"GET http://shop.test,evil.test/ HTTP/1.1", HOST),
    raw(b"GET http://shop.test/ HTTP/1.1"), raw(b"GET http://shop.test/ HTTP/1.1", HOST, HOST),
    raw(b"GET http://shop.test/ HTTP/1.1", b"host: evil.test"),
    raw(b"GET http://shop.test\\@evil.test/ HTTP/1.1", HOST), raw(b"GET http://evil.test\\@shop.test/ HTTP/1.1", HOST),
    raw(b"GET http://shop.test%2f/ HTTP/1.1", HOST),
    raw(b"GET http://shop.test:x/ HTTP/1.1", HOST), raw(b"GET http://[shop.test]/ HTTP/1.1", HOST),
    raw(b"GET http://shop.test:80:80/ HTTP/1.1", HOST),
]
TARGETS = [
    b"*", b"shop.test", b"shop.test:80", b"foo/bar", b"./x", b"../x", b"//shop.test/x", b"//evil.test", b"/a#b", b"/#", b"#", b"?", b"?a=b",
    b"/\xc3\xa9", b"/\x80", b"/a\\b",
    b"\\", b"\\\\evil.test\\x", b"/a b", b"/ ", b"https://shop.test/", b"ftp://shop.test/", b"http:shop.test", b"http:/shop.test/",
    b"http//shop.test/", b"javascript:x",
    b"file:///etc/passwd", b"http://shop.test#x", b"http://shop.test/#x", b"http://shop.test/../x", b"http://shop.test//x",
    b"http://shop.test\\x", b"/a\x7f", b"/a\x00b",
    b"/?a#b", b"/?\xc3\xa9", b"/a\tb", b"\"/\"", b"%2f", b"%2Fadmin", b"**", b"*/", b"/*/../x", b"http://*/", b"mailto:a@shop.test",
    b"data:,x", b"@shop.test/", b":80/", b"/%", b"/%0",
]
S13 = [raw(b"GET " + target + b" HTTP/1.1", HOST) for target in TARGETS] + [
    raw(b"POST * HTTP/1.1", HOST, b"content-length: 0"), raw(b"GET  / HTTP/1.1", HOST), raw(b"GET /  HTTP/1.1", HOST),
    raw(b"GET\t/ HTTP/1.1", HOST), raw(b"GET /\tHTTP/1.1", HOST),
    raw(b"GET HTTP/1.1", HOST), raw(b"GET /x", HOST), raw(b"OPTIONS *x HTTP/1.1", HOST), raw(b"GET /x y HTTP/1.1", HOST), raw(b"GET", HOST),
    raw(b"OPTIONS /* /x HTTP/1.1", HOST),
]
NOMINATED = [
    b"host", b"authorization", b"content-length", b"transfer-encoding", b"cookie", b"set-cookie", b"forwarded", b"x-real-ip",
    b"client-cert", b"client-cert-chain",
    b"x-forwarded-client-cert", b"X-Forwarded-For", b"x-bartizan-tls", b"x-envoy-a", b"l5d-a", b"close, host", b"keep-alive,AUTHORIZATION",
    b",,Cookie,,", b"a b", b"a;b", b'"close"',
    b"cl\xc3\xb6se", b"close\x00", b"close\x0b", b"x\r\nconnection: cookie",
]
S20 = [raw(LINE, HOST, b"authorization: a", b"cookie: b=c", b"connection: " + value) for value in NOMINATED]

REFUSED = [
    *numbered("S4", S4), *numbered("S5", S5), *numbered("S6", S6), *numbered("S11", S11), *numbered("S12", S12), *numbered("S13", S13),
    *numbered("S15", S15),
    *numbered("S20", S20), *numbered("S21", S21),
]


@pytest.mark.parametrize("payload", REFUSED)
async def test_a_head_with_two_readings_is_refused(payload: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With an answer, or, where the first bytes could be of any protocol, without one; the origin hears nothing."""
    outcome = await Chain(nursery, accept_http10=True).attack(payload)
    is_silent = (outcome.statuses, outcome.forwarded, outcome.begun, outcome.is_served_on) == ([], [], [], False)
    assert is_refused(outcome, 400, 405, 505) or is_silent, outcome


async def refused_bytes(chain: Chain, payloads: dict[int, bytes]) -> set[int]:
    """Those of the payloads, by byte, of which the origin hears nothing. The others arrive, and the canary behind them, too."""
    found = set()
    for byte, payload in payloads.items():
        outcome = await chain.attack(payload)
        if outcome.forwarded:
            assert (outcome.statuses, outcome.is_served_on) == ([200], True)
            assert any(b"mark" in value for _, value in outcome.forwarded[0].fields)
        else:
            assert is_refused(outcome), (byte, outcome)
            found.add(byte)
    return found


async def test_S7_every_byte_in_a_value(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery)
    for around in (b"x: mark%bb", b"x: %bmark", b"x: mark%b"):
        assert await refused_bytes(chain, {byte: raw(LINE, HOST, around % bytes([byte])) for byte in range(256)}) == CTL_BUT_TAB


async def test_S6_every_byte_in_a_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery)
    taken = set(range(256)) - await refused_bytes(chain, {byte: raw(LINE, HOST, b"x%by: mark" % bytes([byte])) for byte in range(256)})
    assert taken == TOKEN | {58}    # a colon: the name is x, the value begins with y
    taken = set(range(256)) - await refused_bytes(chain, {byte: raw(LINE, HOST, b"%bx: mark" % bytes([byte])) for byte in range(256)})
    assert taken == TOKEN


async def test_S13_every_byte_in_a_target(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery)
    taken = {}
    for where in (b"/a%bz", b"/a?b%bz"):
        for byte in range(256):
            target = where % bytes([byte])
            outcome = await chain.attack(request(target))
            if outcome.forwarded:
                assert [message.start[1] for message in outcome.forwarded] == [target]
                taken.setdefault(where, set()).add(byte)
            else:
                assert is_refused(outcome), (byte, outcome)
    visible = set(range(0x21, 0x7f))
    assert taken[b"/a%bz"] == visible - set(b"#%\\;")
    assert taken[b"/a?b%bz"] == visible - set(b"#")


async def test_S7_obs_text_goes_on_to_the_byte(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    value = bytes(range(0x80, 0x100)) + b"\ta  b"
    outcome = await Chain(nursery).attack(request(b"/", b"x: " + value))
    assert outcome.forwarded[0].values(b"x") == [value]


# -- S11: HTTP/1.0


@pytest.mark.parametrize("payload", numbered("S11-1.0", [
    raw(b"GET / HTTP/1.0", HOST), raw(b"GET / HTTP/1.0", HOST, b"connection: keep-alive"),
    raw(b"POST / HTTP/1.0", HOST, b"content-length: 5") + b"hello",
]))
async def test_http10_is_served_once_where_it_is_accepted(payload: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Keep-alive is no part of it: whatever stands behind is nobody's request. The origin is spoken to in HTTP/1.1."""
    assert is_refused(await Chain(nursery).attack(payload), 505)
    outcome = await Chain(nursery, accept_http10=True).attack(payload)
    assert (outcome.statuses, len(outcome.forwarded), outcome.is_served_on) == ([200], 1, False)


# -- S12: one host


@pytest.mark.parametrize(("given", "host"), [
    pytest.param(given, host, id=f"S12-good-{number}") for number, (given, host) in enumerate([
        (b"shop.test", b"shop.test"), (b"SHOP.Test", b"shop.test"), (b"shop.test.", b"shop.test"), (b"shop.test:8080", b"shop.test:8080"),
        (b"Shop.test.:8080", b"shop.test:8080"), (b"[::1]", b"[::1]"), (b"[0:0::0001]:81", b"[::1]:81"), (b"[::FFFF:1.2.3.4]", b"1.2.3.4"),
        (b"1.2.3.4", b"1.2.3.4"),
        (b"xn--shp-sna.test", b"xn--shp-sna.test"), (b"shop", b"shop"), (b"\tshop.test \t", b"shop.test"),
    ])
])
async def test_the_origin_gets_the_one_spelling_of_a_host(
    given: bytes, host: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain = Chain(nursery)
    outcome = await chain.attack(raw(b"GET / HTTP/1.1", b"Host:" + given))
    assert outcome.forwarded[0].values(b"host") == [host]
    written_down = {line.get("host", "").encode() for line in chain.bench.lines}
    assert host.removesuffix(b":8080").removesuffix(b":81") in written_down


@pytest.mark.parametrize(("line", "target"), [
    pytest.param(line, target, id=f"S13-good-{number}") for number, (line, target) in enumerate([
        (b"GET http://shop.test/a?b", b"/a?b"), (b"GET HTTP://SHOP.test:80/a", b"/a"), (b"GET http://shop.test", b"/"),
        (b"GET http://shop.test?a", b"/?a"),
        (b"OPTIONS *", b"*"), (b"OPTIONS http://shop.test", b"*"), (b"OPTIONS http://shop.test/", b"/"), (b"GET /*", b"/*"),
        (b"GET /?//../", b"/?//../"),
    ])
])
async def test_a_target_in_absolute_form_is_told_in_origin_form(
    line: bytes, target: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    outcome = await Chain(nursery).attack(raw(line + b" HTTP/1.1", HOST))
    assert [message.start[1] for message in outcome.forwarded] == [target]
    assert outcome.forwarded[0].values(b"host") == [b"shop.test"]
    assert outcome.is_served_on


# -- S14: upgrades that nobody opted in to

WEBSOCKET = (
    b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13", b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize("payload", numbered("S14", [
    request(b"/", b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAARAAAAAAAIAAAAA"),
    request(b"/", b"connection: upgrade", b"upgrade: h2c"), request(b"/", b"upgrade: h2c"),
    request(b"/", b"connection: Upgrade", b"upgrade: h2c, websocket"),
    request(b"/", *WEBSOCKET),
    request(b"/", b"connection: upgrade", b"upgrade: TLS/1.0"), request(b"/", b"connection: upgrade", b"upgrade: smuggled"),
    request(b"/", b"connection: upgrade"), request(b"/", b"connection: upgrade", b"upgrade:"),
    request(b"/", b"connection: upgrade", b"upgrade: HTTP/1.1"),
    request(b"/", b"connection: close, upgrade", b"upgrade: websocket"), request(b"/", b"http2-settings: AAMAAABkAARAAAAAAAIAAAAA"),
]))
async def test_an_upgrade_that_no_route_wants_is_a_plain_request(
    payload: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What is sent behind it, as if in a tunnel, is read as what it is: the next request, judged like any other."""
    outcome = await Chain(nursery).attack(payload + request(b"/../admin"))
    (message,) = outcome.forwarded
    assert {name for name, _ in message.fields} & {b"upgrade", b"connection", b"http2-settings"} == set()
    assert outcome.statuses == ([200] if b"close" in payload else [200, 400])


# -- S20: fields that are one hop's


async def test_S20_fields_of_one_hop_end_here(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    hop = [
        b"keep-alive: timeout=5", b"proxy-connection: keep-alive", b"te: gzip", b"trailer: x", b"proxy-authorization: a",
        b"proxy-authenticate: a",
    ]
    outcome = await Chain(nursery).attack(request(b"/", *hop, b"connection: x-a , , X-B,te", b"X-A: 1", b"x-b: 2", b"x-b: 3", b"x-c: 4"))
    ours = (b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto", b"forwarded")
    assert [field for field in outcome.forwarded[0].fields if field[0] not in ours] == [(b"host", b"shop.test"), (b"x-c", b"4")]
    assert outcome.is_served_on


# -- S21: methods are what they are


@pytest.mark.parametrize("method", [b"get", b"GeT", b"PROPFIND", b"M-SEARCH", b"X!", b"PATCH", b"A" * 40],
                         ids=lambda method: f"S21-{method.decode()}")
async def test_a_method_goes_on_as_it_came(method: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    overrides = (b"x-http-method-override: DELETE", b"x-method-override: DELETE", b"x-http-method: DELETE")
    chain = Chain(nursery)
    outcome = await chain.attack(request(b"/?_method=DELETE", *overrides, b"content-length: 0", method=method))
    assert [message.start[0] for message in outcome.forwarded] == [method]
    assert method.decode() in [line["method"] for line in chain.bench.lines]


def test_the_tables_have_their_size() -> None:
    assert len(HOSTS) >= 30
    assert len(TARGETS) >= 14
    assert len(NOMINATED) >= 12
