import pytest

from sidecar.model.fields import has_owner


@pytest.mark.parametrize("name", ["Host", "TE", "Content-Length", "X-Forwarded-For", "x-bartizan-anything", "X-Request-Id", "Traceparent",
    "x-http-method-override", "X-Original-URL", "a_b", "l5d-x",
])
def test_what_rules_leave_alone(name: str) -> None:
    assert has_owner(name)


@pytest.mark.parametrize("name", ["authorization", "cookie", "x-tenant", "x-forward", "hosts", "content-type"])
def test_what_they_may_touch(name: str) -> None:
    assert not has_owner(name)
