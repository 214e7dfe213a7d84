"""A question's request is judged like everybody's."""

import pytest

from sidecar.model.errors import ProtocolViolation
from sidecar.model.explanation import Question
from sidecar.model.reason import Reason
from sidecar.protocol.asked import request_of


@pytest.mark.parametrize(("question", "host", "port", "target"), [
    (Question("API.Partner.example.", 80), b"api.partner.example", None, b"/"),
    (Question("a.test", 8080, path="/x?y=z", method="POST"), b"a.test", 8080, b"/x?y=z"),
    (Question("[2001:DB8::1]", 80), b"[2001:db8::1]", None, b"/"),
])
def test_it_is_what_the_application_would_send(question: Question, host: bytes, port: int | None, target: bytes) -> None:
    request = request_of(question)
    assert (request.method.decode(), request.host, request.port, request.target) == (question.method, host, port, target)
    assert (b"user-agent", b"bartizan-verify") in request.headers


@pytest.mark.parametrize(("question", "reason"), [
    (Question("0177.0.0.1", 80), Reason.BAD_HOST), (Question("a.test:80", 80), Reason.BAD_HOST),
    (Question("a@b.test", 80), Reason.BAD_HOST), (Question("a.test%00", 80), Reason.BAD_HOST),
    (Question("a.test", 80, path="/../x"), Reason.BAD_TARGET), (Question("a.test", 80, method="TRACE"), Reason.METHOD),
])
def test_what_is_refused_of_the_application_is_refused_here(question: Question, reason: Reason) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        request_of(question)
    assert caught.value.reason is reason
