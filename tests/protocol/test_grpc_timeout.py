"""How long a gRPC caller waits."""

import pytest

from sidecar.model.message import NO_BODY, Headers, RequestHead
from sidecar.protocol.grpc_timeout import MOST_S, grpc_timeout_s

GRPC = (b"content-type", b"application/grpc+proto")


def head(*fields: tuple[bytes, bytes], is_http2: bool = True) -> RequestHead:
    headers: Headers = list(fields)
    return RequestHead(b"POST", b"/a", b"a", None, headers, NO_BODY, False, is_http2=is_http2)


@pytest.mark.parametrize(("said", "seconds"), [
    (b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"99999999n", 0.099999999), (b"0S", 0),
    (b"60M", MOST_S), (b"99999999H", MOST_S),
])
def test_each_unit(said: bytes, seconds: float) -> None:
    assert grpc_timeout_s(head(GRPC, (b"Grpc-Timeout", said))) == pytest.approx(seconds)


@pytest.mark.parametrize("said", [b"", b"S", b"1", b"1s", b"-1S", b"+1S", b"1.5S", b" 1S", b"1S ", b"123456789S", "٣S".encode()])
def test_what_is_no_timeout_ends_nothing(said: bytes) -> None:
    assert grpc_timeout_s(head(GRPC, (b"grpc-timeout", said))) is None


def test_two_of_them_and_other_callers_neither() -> None:
    one = (b"grpc-timeout", b"1S")
    assert grpc_timeout_s(head(GRPC, one, one)) is None
    assert grpc_timeout_s(head(one)) is None
    assert grpc_timeout_s(head(GRPC)) is None
    assert grpc_timeout_s(head(GRPC, one, is_http2=False)) is None      # a caller that went away would not be seen
