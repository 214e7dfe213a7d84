"""The question of a gRPC probe, and what counts as its answer.

Trust: an answer is the application's bytes: SERVING, or a ValueError that says in bounded words what it is instead. Attacked by
tests/protocol/test_grpc_health.py. Spec: grpc/grpc "GRPC Health Checking Protocol"; grpc.io "gRPC over HTTP2".
"""

from sidecar.model.message import Headers

from .protobuf import field, frame, read_message

CHECK = b"/grpc.health.v1.Health/Check"
MAX_ANSWER_BYTES = 4096     # one number
_SERVING = 1
_STATES = {0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_MOST_WORDS = 200


def render_check(service: str) -> bytes:
    """A HealthCheckRequest in its frame; an empty name is the server as a whole."""
    return frame(field(1, service.encode()) if service else b"")


def require_serving(head: Headers, body: bytes, trailers: Headers) -> None:
    """
    Args:
        head: of an answer with HTTP status 200; a refusal says its gRPC status there.

    Raises: ValueError, unless the call went well and its one message says SERVING.
    """
    said = {name.lower(): value for name, value in (*head, *trailers)}
    if (status := said.get(b"grpc-status", b"missing")) != b"0":
        words = said.get(b"grpc-message", b"").decode("ascii", "replace")
        raise ValueError(f"gRPC status {status.decode('ascii', 'replace')} {words}"[:_MOST_WORDS].rstrip())
    state: int | bytes = 0
    for number, value in read_message(body):
        if number == 1:
            state = value
    if state != _SERVING:
        raise ValueError(f"the service is {_STATES.get(state, 'UNKNOWN') if isinstance(state, int) else 'UNKNOWN'}")
