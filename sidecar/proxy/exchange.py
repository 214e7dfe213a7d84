"""One exchange on its way: what has happened to it so far, for whoever carries it out, answers it or tells of it."""

from sidecar.model.errors import ProtocolViolation
from sidecar.model.reason import Reason
from sidecar.net.ends import ServingEnd
from sidecar.telemetry.access_log import Record

from .plan import Plan, Upstream


class Exchange:
    """
    Args:
        record: what will be told of it, its bytes counted.
    Attributes:
        request: as it is sent on.
        has_begun: interim responses went out.
        has_answered: bytes of the response went out: no other answer is possible.
        reason: why the upstream's sidecar refused.
    """

    __slots__ = ("end", "has_answered", "has_begun", "reason", "record", "request")

    def __init__(self, end: ServingEnd, record: Record) -> None:
        self.end = end
        self.record = record
        self.request = end.request
        self.has_begun = False
        self.has_answered = False
        self.reason: Reason | None = None

    def note_request(self, time: float) -> None:
        """It is begun: at this time on the wall, with this request."""
        record, request = self.record, self.request
        record.time = time
        record.method = request.method.decode("ascii")
        record.host = request.host.decode("ascii")
        record.path = request.path.decode("ascii", "backslashreplace")

    def take(self, piece: bytes, plan: Plan) -> bytes:
        """A piece of the request's body, counted. ProtocolViolation if there are too many bytes."""
        self.record.received += len(piece)
        if plan.max_body_bytes is not None and self.record.received > plan.max_body_bytes:
            raise ProtocolViolation(Reason.BODY_TOO_LARGE, f"more than {plan.max_body_bytes} bytes")
        return piece

    def note_reason(self) -> None:
        """It was carried out; perhaps what came was a refusal."""
        if self.reason is not None:
            self.record.refuse(self.reason, "said by the upstream's sidecar")

    def reach(self, upstream: Upstream) -> None:
        """There is a connection, which has proved what the log may now say of it."""
        if upstream.security:
            self.record.security, self.record.peer = upstream.security, upstream.peer
            self.record.tls = upstream.tls or self.record.tls
