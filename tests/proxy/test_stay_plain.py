"""What an application that speaks plain HTTP is told by a host that answered over TLS."""

import pytest
from msgspec.structs import replace

from sidecar.model.message import NO_BODY, Headers, ResponseHead
from sidecar.proxy.stay_plain import stay_plain


def told(headers: Headers, port: int = 80, tls_port: int = 443) -> Headers:
    head = ResponseHead(302, b"", headers, NO_BODY, 0, False)
    found = stay_plain(head, host=b"a.test", port=port, tls_port=tls_port)
    assert found == replace(head, headers=found.headers), "nothing else"
    return found.headers


@pytest.mark.parametrize("field", [b"Location", b"content-location"])
@pytest.mark.parametrize(("port", "tls_port", "given", "kept"), [
    (80, 443, b"https://a.test/x", b"http://a.test/x"),
    (80, 443, b"HTTPS://A.test", b"http://a.test"),
    (80, 443, b"https://a.test?q=https://a.test/", b"http://a.test?q=https://a.test/"),
    (80, 443, b"https://a.test#top", b"http://a.test#top"),
    (80, 443, b"https://a.test:443/x", b"http://a.test/x"),
    (80, 443, b"https://a.test:/x", b"http://a.test/x"),
    (80, 443, b"//a.test/x", b"http://a.test/x"),
    (8080, 443, b"//a.test/x", b"http://a.test:8080/x"),
    (8080, 443, b"https://a.test/x", b"http://a.test:8080/x"),
    (8080, 8443, b"https://a.test:8443/x", b"http://a.test:8080/x"),
    *((80, 443, same, same) for same in (
        b"https://a.test.evil/x", b"https://a.testing", b"https://xa.test/", b"https://b.test/x", b"https://a.test:8443/x",
        b"https://u@a.test/", b"https://a.test@evil.test/", b"https://a.test\\@evil.test/", b"https://a.test:443@evil.test/",
        b"https:a.test/x", b"https:/a.test/x", b"http://a.test/x", b"http://a.test:8080/x", b"ftp://a.test/x",
        b"/x", b"/https://a.test/", b"x", b"?https://a.test", b"", b"https://", b"https://a.test.", b" https://a.test/",
    )),
    *((80, 8443, same, same) for same in (b"https://a.test/x", b"https://a.test:443/x", b"https://a.test:/x", b"//a.test/x")),
])
def test_location(field: bytes, port: int, tls_port: int, given: bytes, kept: bytes) -> None:
    assert told([(field, given), (b"x-other", given)], port, tls_port) == [(field, kept), (b"x-other", given)]


@pytest.mark.parametrize(("given", "kept"), [
    (b"a=b; Secure; HttpOnly", b"a=b; HttpOnly"),
    (b"a=b;secure", b"a=b"),
    (b"a=b; SECURE ; Path=/; secure", b"a=b; Path=/"),
    (b"a=b; Secure=yes; Path=/", b"a=b; Path=/"),
    (b"a=secure; Path=/secure", b"a=secure; Path=/secure"),
    (b"secure", b"secure"), (b"Secure=b; Path=/", b"Secure=b; Path=/"),        # a cookie of that name
    (b"a=b", b"a=b"), (b"", b""),
    (b"__Host-a=b; Path=/; Secure", b"__Host-a=b; Path=/"), (b"__Secure-a=b; Secure", b"__Secure-a=b"),
    (b"a=b; SameSite=None; Secure; Partitioned", b"a=b; SameSite=None; Partitioned"),
])
def test_cookies(given: bytes, kept: bytes) -> None:
    assert told([(b"Set-Cookie", given), (b"x-set-cookie", given)]) == [(b"Set-Cookie", kept), (b"x-set-cookie", given)]


def test_what_would_lead_away_is_left_out() -> None:
    kept = [(b"link", b"<https://a.test/2>; rel=next"), (b"refresh", b"0; url=https://a.test/")]
    assert told([(b"Strict-Transport-Security", b"max-age=31536000"), *kept, (b"alt-svc", b'h3=":443"')]) == kept


def test_other_answers_are_the_very_same() -> None:
    head = ResponseHead(200, b"", [(b"content-type", b"text/plain")], NO_BODY, 0, False)
    assert stay_plain(head, host=b"a.test", port=80, tls_port=443) is head
