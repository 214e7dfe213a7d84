"""Which version goes on."""


import pytest
from msgspec.structs import replace

from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.service import Protocol
from sidecar.proxy.versions import speaks_http2

OLD = RequestHead(b"GET", b"/", b"a", None, [], NO_BODY, False)
NEW = replace(OLD, is_http2=True)


@pytest.mark.parametrize(("request_", "protocol", "expected"), [
    (OLD, None, False), (OLD, "http", False), (OLD, "http1", False), (OLD, "http2", True),
    (NEW, None, True), (NEW, "http", True), (NEW, "http1", False), (NEW, "http2", True),
    (replace(OLD, upgrade=b"websocket"), "http2", False),
])
def test_what_the_client_speaks_unless_the_application_knows_one_only(
    request_: RequestHead, protocol: Protocol | None, expected: bool
) -> None:
    assert speaks_http2(request_, protocol) is expected
