"""The request that a question of the operator's is about, in the application's words and judged like them."""

from sidecar.model.errors import ProtocolViolation
from sidecar.model.explanation import Question
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason

from .authority import parse_authority
from .head import read_request

AGENT = b"bartizan-verify"      # what it calls itself, where it is sent


def request_of(question: Question) -> RequestHead:
    """The request as the application would send it, judged as its own is. Raises ProtocolViolation."""
    try:
        host, port = parse_authority(question.host.encode("ascii"))
    except ValueError as exc:
        raise ProtocolViolation(Reason.BAD_HOST, str(exc)) from exc
    if port is not None:
        raise ProtocolViolation(Reason.BAD_HOST, f"{question.host} has a port; say it apart")
    authority = host if question.port == 80 else b"%b:%d" % (host, question.port)
    text = b"%b %b HTTP/1.1\r\nhost: %b\r\nuser-agent: %b\r\naccept: */*\r\n\r\n" % (
        question.method.encode("ascii"), question.path.encode("ascii"), authority, AGENT)
    found = read_request(text)
    assert found is not None, "it is whole"
    return found[0]
