import pytest

from sidecar.model.reason import Reason
from sidecar.protocol.head import read_response
from sidecar.proxy.respond import TABLE, explain


@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_explains_itself(reason: Reason) -> None:
    answer = explain(reason, "orders-read", "in detail", close=True)
    head, length = read_response(answer, b"GET") or pytest.fail("no whole head")
    assert (head.status, head.is_last) == (TABLE[reason].status, True)
    assert (b"x-bartizan-reason", f"{reason.code} {reason.token}".encode()) in head.headers
    assert (b"x-bartizan-rule", b"orders-read") in head.headers
    body = answer[length:].decode()
    assert len(answer) - length == head.body.length
    for text in (reason.cause, reason.cure, "in detail", "nearest rule: orders-read"):
        assert text in body


def test_to_head_only_the_head_is_sent() -> None:
    answer = explain(Reason.NO_ROUTE, "", "", close=False, has_body=False)
    head, length = read_response(answer, b"HEAD") or pytest.fail("no whole head")
    assert (length, head.is_last) == (len(answer), False)
    assert [name for name, _ in head.headers] == [b"content-type", b"x-bartizan-reason"]


def test_a_rule_of_any_name_fits_into_a_header() -> None:
    answer = explain(Reason.NOT_ALLOWED, "b\u00fccher", "\ud800", close=False)
    head, _ = read_response(answer, b"GET") or pytest.fail("no whole head")
    assert (b"x-bartizan-rule", b"b\\xfccher") in head.headers
