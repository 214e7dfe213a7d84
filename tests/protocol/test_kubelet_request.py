"""As kubelet 1.36 asks: what each case says was read in its pkg/probe/http and in the `net/http` under it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.config import Probe, ProbeHeader
from sidecar.model.message import Headers
from sidecar.protocol.kubelet_request import Asked, first, follow
from sidecar.protocol.render import render_request

POD = "10.1.0.5"
DEFAULTS = [(b"user-agent", b"kube-probe/1.36"), (b"accept", b"*/*")]


def asked(path: str = "/", *headers: tuple[str, str], by: str = "http", address: str = POD, word: str | None = None) -> Asked:
    fields = tuple(ProbeHeader(name, value) for name, value in headers)
    return first(Probe(8080, "https" if by == "https" else "http", path, fields, word=word), address)


def test_what_is_said_by_itself() -> None:
    found = asked("/healthz?deep=1")
    assert render_request(found.head, found.host, []) == (
        b"GET /healthz?deep=1 HTTP/1.1\r\nhost: 10.1.0.5:8080\r\nuser-agent: kube-probe/1.36\r\naccept: */*\r\n\r\n")
    assert (found.is_tls, found.port) == (False, 8080)
    assert (asked(by="https").is_tls, asked(address="fd00::5").host) == (True, b"[fd00::5]:8080")


def test_a_hook_is_asked_by_another_name() -> None:
    assert asked(word="0" * 32).head.headers[0] == (b"user-agent", b"kube-lifecycle/1.36")


@pytest.mark.parametrize(("said", "host", "headers"), [
    ([("Host", "shop.example:81"), ("hOST", "second")], b"shop.example:81", DEFAULTS),
    ([("Host", "")], b"10.1.0.5:8080", DEFAULTS),
    ([("X-A", " 1 "), ("x-a", "2\tü")], b"10.1.0.5:8080", [*DEFAULTS, (b"x-a", b"1"), (b"x-a", "2\tü".encode())]),
    ([("User-Agent", "me"), ("user-agent", "you")], b"10.1.0.5:8080", [(b"user-agent", b"me"), (b"accept", b"*/*")]),
    ([("User-Agent", "")], b"10.1.0.5:8080", [(b"accept", b"*/*")]),
    ([("Accept", "a/b"), ("accept", "c/d")], b"10.1.0.5:8080",
     [(b"user-agent", b"kube-probe/1.36"), (b"accept", b"a/b"), (b"accept", b"c/d")]),
    ([("Accept", "")], b"10.1.0.5:8080", [(b"user-agent", b"kube-probe/1.36")]),
    # what is the connection's, and would be said twice
    ([(name, "x") for name in ("Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "TE", "Trailer", "Expect")],
     b"10.1.0.5:8080", DEFAULTS),
])
def test_the_pods_own_headers(said: list[tuple[str, str]], host: bytes, headers: Headers) -> None:
    found = asked("/", *said)
    assert found.host == host
    assert found.head.headers == headers


@pytest.mark.parametrize(("path", "target"), [
    ("", b"/"), ("/", b"/"), ("healthz", b"/healthz"), ("/a b", b"/a%20b"), ("/a%20b?c=%2F&d=[1]", b"/a%20b?c=%2F&d=[1]"),
    ("/x#part", b"/x"), ("/ü", b"/%C3%BC"), ("?a", b"/?a"), ("/100%?x#y", b"/100%25%3Fx%23y"), ("/\r\nHost: x", b"/%0D%0AHost:%20x"),
])
def test_paths(path: str, target: bytes) -> None:
    assert asked(path).head.target == target


@given(st.text(max_size=30), st.lists(st.tuples(st.sampled_from(["Host", "Accept", "X-A"]), st.text())))
def test_any_path_is_one_request(path: str, headers: list[tuple[str, str]]) -> None:
    """Any path, any fields that a Probe may hold: a request of as many lines as it has fields, with a target of plain bytes."""
    fields = [(name, value) for name, value in headers if value.isprintable()]
    found = asked(path.encode("utf-8", "replace").decode(), *fields)
    assert found.head.target[:1] == b"/"
    assert all(0x20 < byte < 0x7F for byte in found.head.target)
    assert render_request(found.head, found.host, []).count(b"\r\n") == 3 + len(found.head.headers)


def led(
    status: int, location: str, *headers: tuple[str, str], by: str = "http", address: str = POD
) -> tuple[bool, int, bytes, bytes] | None:
    found = follow(asked("/a/b?c", *headers, by=by, address=address), status, [(b"Location", location.encode("latin-1"))], address)
    return None if found is None else (found.is_tls, found.port, found.host, found.head.target)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirections_to_the_same_host_are_followed(status: int) -> None:
    assert led(status, "/x") == (False, 8080, b"10.1.0.5:8080", b"/x")
    assert led(status, "") is None


@pytest.mark.parametrize(("location", "leads"), [
    ("x?y#z", (False, 8080, b"10.1.0.5:8080", b"/a/x?y")),
    ("//10.1.0.5:9090", (False, 9090, b"10.1.0.5:9090", b"/")),
    ("http://10.1.0.5/x", (False, 80, b"10.1.0.5", b"/x")),
    ("https://user:word@10.1.0.5/x", (True, 443, b"10.1.0.5", b"/x")),
    ("https://10.1.0.5:8443/x", (True, 8443, b"10.1.0.5:8443", b"/x")),
    ("http://10.1.0.6/x", None), ("http://elsewhere.example/", None), ("//elsewhere.example/", None), ("http://[fd00::5]/", None),
    ("mailto:x", None), ("http://10.1.0.5.example/", None),
])
def test_where_a_redirection_leads(location: str, leads: object) -> None:
    assert led(302, location) == leads


def test_a_relative_redirection_keeps_the_pods_own_host() -> None:
    assert led(302, "/x", ("Host", "shop.example")) == (False, 8080, b"shop.example", b"/x")
    assert led(302, "http://10.1.0.5:8080/x", ("Host", "shop.example")) == (False, 8080, b"10.1.0.5:8080", b"/x")


def test_a_redirection_from_tls_over_ipv6() -> None:
    assert led(302, "/x", by="https", address="fd00::5") == (True, 8080, b"[fd00::5]:8080", b"/x")
    assert led(302, "http://[FD00::5]:81/x", by="https", address="fd00::5") == (False, 81, b"[FD00::5]:81", b"/x")


@pytest.mark.parametrize("location", ["ftp://10.1.0.5/", "http://10.1.0.5:x/", "http://10.1.0.5:70000/", "http://[10.1.0.5"])
def test_a_redirection_that_leads_nowhere(location: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        led(302, location)


@pytest.mark.parametrize("status", [200, 300, 304, 404])
def test_other_answers_lead_nowhere(status: int) -> None:
    assert led(status, "/x") is None


@given(st.text(st.characters(max_codepoint=255), max_size=40) | st.text("http:/10.5@[]#?%x", max_size=20).map("//10.1.0.5{}".format))
def test_any_location(location: str) -> None:
    """Any value: the same address is asked, with one plain request; or none is, or ValueError."""
    try:
        found = follow(asked(), 302, [(b"location", location.encode("latin-1"))], POD)
    except ValueError:
        return
    if found is not None:
        assert 0 < found.port < 65536
        assert found.authority.partition(b":")[0] == POD.encode()
        assert render_request(found.head, found.host, []).count(b"\r\n") == 5
