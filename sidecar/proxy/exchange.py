"""One exchange on its way: what has happened to it so far, for whoever carries it out, answers it or tells of it."""

from sidecar.model.errors import ProtocolViolation
from sidecar.model.reason import Reason
from sidecar.net.ends import ServingEnd

from .plan import Plan


class Exchange:
    """
    Attributes:
        request: as it is sent on.
        has_begun: interim responses went out.
        has_answered: bytes of the response went out: no other answer is possible.
        reason: why the upstream's sidecar refused.
        upstream: where the last attempt went, for the log.
        received, sent: bytes of the bodies.
    """

    __slots__ = ("end", "has_answered", "has_begun", "reason", "received", "request", "sent", "status", "upstream")

    def __init__(self, end: ServingEnd) -> None:
        self.end = end
        self.request = end.request
        self.has_begun = False
        self.has_answered = False
        self.status = 0
        self.reason: Reason | None = None
        self.upstream = ""
        self.received = 0
        self.sent = 0

    def take(self, piece: bytes, plan: Plan) -> bytes:
        """A piece of the request's body, counted. ProtocolViolation if there are too many bytes."""
        self.received += len(piece)
        if plan.max_body_bytes is not None and self.received > plan.max_body_bytes:
            raise ProtocolViolation(Reason.BODY_TOO_LARGE, f"more than {plan.max_body_bytes} bytes")
        return piece
