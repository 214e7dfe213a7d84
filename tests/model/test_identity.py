import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.identity import parse, parts, workload_id

GOOD = "spiffe://example.org/ns/shop/sa/web"


def test_parts() -> None:
    assert parts(parse(GOOD)) == ("example.org", "shop", "web")
    assert workload_id("example.org", "shop", "web.v2") == "spiffe://example.org/ns/shop/sa/web.v2"


@pytest.mark.parametrize("text", [
    "", "spiffe://", "example.org/ns/shop/sa/web", "https://example.org/ns/shop/sa/web", "SPIFFE://example.org/ns/shop/sa/web",
    "spiffe://Example.org/ns/shop/sa/web", "spiffe://example.org:8443/ns/shop/sa/web", "spiffe://user@example.org/ns/shop/sa/web",
    "spiffe:///ns/shop/sa/web", "spiffe://example.org", "spiffe://example.org/", "spiffe://example.org/workload",
    GOOD + "/", GOOD + "//", GOOD + "/x", GOOD + "?a=b", GOOD + "#x", GOOD + "\n", GOOD + "\0", " " + GOOD, GOOD + " ",
    "spiffe://example.org//ns/shop/sa/web", "spiffe://example.org/ns//sa/web", "spiffe://example.org/ns/shop/sa/",
    "spiffe://example.org/ns/../sa/web", "spiffe://example.org/ns/shop/sa/..", "spiffe://example.org/ns/sh%6fp/sa/web",
    "spiffe://example.org/ns/Shop/sa/web", "spiffe://example.org/ns/shop/sa/-web", "spiffe://example.org/ns/shop/sa/web-",
    "spiffe://example.org/ns/" + "a" * 64 + "/sa/web", "spiffe://example.org/ns/sho\u0440/sa/web",
    "spiffe://example.org/ns/shop\0/sa/web", "spiffe://.example.org/ns/shop/sa/web", "spiffe://" + "a" * 256 + "/ns/shop/sa/web",
    "spiffe://example.org/ns/shop/sa/" + "a." * 1100 + "a",
])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a SPIFFE ID"):
        parse(text)


@pytest.mark.parametrize(("namespace", "account"), [("shop/sa/admin", "web"), ("shop", "web/../admin"), ("", "web"), ("*", "*")])
def test_parts_cannot_smuggle_a_path(namespace: str, account: str) -> None:
    with pytest.raises(ValueError, match="not a SPIFFE ID"):
        workload_id("example.org", namespace, account)


@given(st.integers(0, len(GOOD)), st.characters())
def test_one_character_more(position: int, character: str) -> None:
    """A string with one character put in is refused, or is an identity whose parts spell exactly that string."""
    text = GOOD[:position] + character + GOOD[position:]
    try:
        found = parts(parse(text))
    except ValueError:
        return
    assert "spiffe://{}/ns/{}/sa/{}".format(*found) == text
    assert text.isascii()
