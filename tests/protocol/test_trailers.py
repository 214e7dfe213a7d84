"""Trailers: what could mislead a hop never goes on."""

import pytest

from sidecar.protocol.trailers import allowed_trailers


@pytest.mark.parametrize("name", [
    b"Content-Length", b"transfer-encoding", b"HOST", b"Authorization", b"X-Forwarded-Client-Cert", b"x-forwarded-for", b":path",
    b"X-Bartizan-Reason", b"l5d-dst", b"x-envoy-peer", b"Set-Cookie", b"te", b"x_forwarded_for", b"traceparent", b"Forwarded",
])
def test_dropped(name: bytes) -> None:
    assert allowed_trailers([(name, b"x"), (b"grpc-status", b"0")]) == [(b"grpc-status", b"0")]


@pytest.mark.parametrize("name", [b"grpc-status", b"grpc-message", b"grpc-status-details-bin", b"server-timing", b"X-Checksum", b"digest"])
def test_passed_on(name: bytes) -> None:
    assert allowed_trailers([(name, b"x")]) == [(name, b"x")]
