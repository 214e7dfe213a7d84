"""What a rule's types refuse."""

import msgspec
import pytest

from sidecar.model.route import Caller, DirectResponse, Fault, HeaderEdit, Jwt, Match, PathMatch, RateLimit, Redirect, Route


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
