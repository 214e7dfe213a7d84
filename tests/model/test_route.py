"""What a rule's types refuse."""

import msgspec
import pytest

from sidecar.model.route import Caller, DirectResponse, Fault, HeaderEdit, Jwt, Match, PathMatch, RateLimit, Redirect, Rewrite, Route

# What selects requests and callers; all else that a rule may say is something to be done.
SELECTS = {"name", "allow", "port", "matches", "hosts", "deny", "jwt"}
DONE = {
    "rate_limit": RateLimit(1), "concurrency": 1, "max_body_bytes": 0, "fault": Fault(), "request_headers": HeaderEdit(remove=("a",)),
    "response_headers": HeaderEdit(set={"a": "b"}), "rewrite": Rewrite(), "redirect": Redirect(), "direct_response": DirectResponse(200),
    "upgrades": ("websocket",), "request_s": 1.0, "idle_s": 1.0,
}


def test_what_asks_for_anything_but_leave_is_not_plain() -> None:
    plain = Route("r", (), 80, (Match(),), ("a",), (Caller(),), Jwt("https://idp.example", ("a",)))
    assert plain.is_plain
    assert {field.name for field in msgspec.structs.fields(Route)} == SELECTS | DONE.keys()
    for name, value in DONE.items():
        assert not msgspec.structs.replace(plain, **{name: value}).is_plain, name


@pytest.mark.parametrize(("kind", "value"), [
    (Match, {"method": "get"}),
    (Match, {"headers": [{"name": "a b", "value": "x"}]}),
    (Match, {"path": {"value": ""}}),
    (Match, {"path": {"value": "/x", "type": "Regex"}}),
    (HeaderEdit, {"set": {"x-a": "line\nbreak"}}),
    (HeaderEdit, {"remove": ["x a"]}),
    (RateLimit, {"requests": 0}),
    (RateLimit, {"requests": 1, "perS": 0}),
    (Fault, {"abortStatus": 200}),
    (Fault, {"delayPercent": 101}),
    (Redirect, {"status": 200}),
    (DirectResponse, {"status": 101}),
    (Caller, {"serviceAccounts": "web"}),
    (Jwt, {"issuer": "https://idp.example"}),
    (Route, {"name": "r"}),
    (Route, {"name": "r", "allow": [], "upgrades": ["h2c"]}),
])
def test_refused(kind: type, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, kind)


def test_the_least_that_a_rule_says() -> None:
    route = msgspec.convert({"name": "r", "allow": [{"namespace": "shop"}], "matches": [{"path": {"value": "/x"}}]}, Route)
    assert route == Route("r", (Caller("*", "shop"),), matches=(Match(PathMatch("/x", "PathPrefix")),))
