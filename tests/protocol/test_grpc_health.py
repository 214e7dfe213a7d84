import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.message import Headers
from sidecar.protocol.grpc_health import render_check, require_serving

OK: Headers = [(b"grpc-status", b"0")]


def message(hexadecimal: str) -> bytes:
    body = bytes.fromhex(hexadecimal)
    return b"\0" + len(body).to_bytes(4) + body


def test_the_question_as_protobuf_writes_it() -> None:
    assert render_check("") == b"\0\0\0\0\0"
    assert render_check("shop.Orders") == b"\0\0\0\0\x0d\n\x0bshop.Orders"


@pytest.mark.parametrize("body", ["0801", "10050801", "08020801"])
def test_serving(body: str) -> None:
    require_serving([(b"content-type", b"application/grpc")], message(body), OK)


@pytest.mark.parametrize(("body", "head", "trailers", "why"), [
    (message("0802"), [], OK, "the service is NOT_SERVING"),
    (message("0803"), [], OK, "the service is SERVICE_UNKNOWN"),
    (message(""), [], OK, "the service is UNKNOWN"),
    (message("0809"), [], OK, "the service is UNKNOWN"),
    (message("0a0101"), [], OK, "the service is UNKNOWN"),
    (message("0801"), [], [], "gRPC status missing"),
    (message("0801"), [], [(b"grpc-status", b"14")], "gRPC status 14"),
    (b"", [(b"grpc-status", b"12"), (b"grpc-message", b"unknown service")], [], "gRPC status 12 unknown service"),
    (b"", [], OK, "the body is not one uncompressed message"),
    (message("0801") * 2, [], OK, "the body is not one uncompressed message"),
    (message("08"), [], OK, "a number breaks off"),
])
def test_what_is_not_serving(body: bytes, head: Headers, trailers: Headers, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        require_serving(head, body, trailers)


@given(st.binary(max_size=20), st.binary(max_size=4), st.binary(max_size=400))
def test_any_bytes(body: bytes, status: bytes, words: bytes) -> None:
    """Any bytes: SERVING, or bounded words of why not."""
    try:
        require_serving([], message(body.hex()), [(b"grpc-status", status), (b"grpc-message", words)])
        why = ""
    except ValueError as exc:
        why = str(exc)
    assert len(why) <= 200
    assert why or (status == b"0" and b"\x08\x01" in body)
