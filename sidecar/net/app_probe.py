"""Asking an application whether it is well, as the kubelet would: by HTTP, HTTPS, gRPC or a connection.

The certificate of `https` is not looked at, by the kubelet neither. Here, too, it would prove nothing: the pod's own address is asked,
and what goes there does not leave the pod.

Trust: the application's answers are judged like any upstream's, and bounded. Whatever they say, it is the address that was given
that is asked, at a port that is not ours. Attacked by tests/net/test_app_probe.py.
"""

from collections.abc import Container
from functools import cached_property
from typing import TYPE_CHECKING

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.config import Probe
from sidecar.model.errors import BadResponse, ConnectFailed, Reset
from sidecar.model.message import UNTIL_CLOSE, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.protocol import grpc_health
from sidecar.protocol.kubelet_request import MOST_REQUESTS, PROBE_AGENT, Asked, first, follow

from .dial import Dialer
from .ends import AskingEnd
from .http1_client import Http1Client
from .socket_stream import SocketStream
from .tls_context import Context, unverified_client
from .tls_stream import TlsStream

if TYPE_CHECKING:   # what few pods need
    from .http2_client import Http2AskingEnd

WELL = 200
MOST_BODY_BYTES = 10 << 10      # read of an answer, as by the kubelet; what follows is of no interest
MOST_INTERIM = 5


class AppProber:
    """
    Args:
        forbidden: ports that no application has.
    """

    def __init__(self, dialer: Dialer, forbidden: Container[int] = ports.OWN) -> None:
        self._dialer = dialer
        self._forbidden = forbidden

    async def ask(self, probe: Probe, address: str) -> int:
        """The HTTP status that a probe's result is; WELL for one that is not by HTTP. The caller sets the deadline.

        Args:
            address: of the pod.

        Raises:
            UpstreamError: there is no result but failure.
        """
        if probe.by == "tcp":
            (await self._connect(address, probe.port)).close()
            return WELL
        if probe.by == "grpc":
            return await self._check(probe, address)
        asked = first(probe, address)
        for _ in range(MOST_REQUESTS):
            head = await self._get(asked, address, is_hook=probe.is_hook)
            try:
                following = follow(asked, head.status, head.headers, address)
            except ValueError as exc:
                raise BadResponse(str(exc)) from exc
            if following is None:
                return head.status
            asked = following
        raise BadResponse(f"more than {MOST_REQUESTS - 1} redirections")

    async def _connect(self, address: str, port: int) -> SocketStream:
        if port in self._forbidden:
            raise ConnectFailed(f"port {port} is the sidecar's, and no application's")
        return SocketStream(await self._dialer.connect(Address(address, port)))

    async def _get(self, asked: Asked, address: str, *, is_hook: bool) -> ResponseHead:
        stream: SocketStream | TlsStream = await self._connect(address, asked.port)
        is_http2 = False
        try:
            if asked.is_tls:
                stream = TlsStream(self._hook_tls if is_hook else self._probe_tls, stream.sock, is_server=False)
                await stream.handshake(BadResponse)
                is_http2 = stream.connection.get_alpn_proto_negotiated() == b"h2"
            end: AskingEnd = _speak_http2(stream, b"https") if is_http2 else Http1Client(stream).open()
            closes: Headers = [] if is_http2 else [(b"connection", b"close")]
            await end.send_request(asked.head, asked.host, closes, b"", is_end=True)
            head = await _read_head(end)
            try:
                await _read_body(end, MOST_BODY_BYTES)
            except Reset:
                if head.body.kind is not UNTIL_CLOSE:   # there, a server without manners ends TLS by closing
                    raise
            return head
        finally:
            stream.close()

    async def _check(self, probe: Probe, address: str) -> int:
        stream = await self._connect(address, probe.port)
        try:
            host = str(Address(address, probe.port)).encode()
            fields = [(b"content-type", b"application/grpc"), (b"user-agent", PROBE_AGENT)]
            request = RequestHead(
                b"POST", grpc_health.CHECK, host, None, fields, Body(BodyKind.CHUNKED), True, takes_trailers=True)
            end = _speak_http2(stream, b"http")
            await end.send_request(request, host, [], grpc_health.render_check(probe.service), is_end=True)
            head = await _read_head(end)
            body = await _read_body(end, grpc_health.MAX_ANSWER_BYTES)
            if head.status != WELL:
                raise BadResponse(f"HTTP status {head.status} to a gRPC call")
            if len(body) > grpc_health.MAX_ANSWER_BYTES:
                raise BadResponse(f"an answer of more than {grpc_health.MAX_ANSWER_BYTES} bytes")
            try:
                grpc_health.require_serving(head.headers, body, end.trailers)
            except ValueError as exc:
                raise BadResponse(str(exc)) from exc
            return WELL
        finally:
            stream.close()

    # Made once somebody needs it. Where it asks for a hook the kubelet speaks HTTP/1.1 only.

    @cached_property
    def _probe_tls(self) -> Context:
        return unverified_client(is_http2=True)

    @cached_property
    def _hook_tls(self) -> Context:
        return unverified_client(is_http2=False)


def _speak_http2(stream: SocketStream | TlsStream, scheme: bytes) -> "Http2AskingEnd":
    from .http2_client import Http2Client

    return Http2Client(stream, scheme).open()


async def _read_head(end: AskingEnd) -> ResponseHead:
    """The first that is final."""
    for _ in range(MOST_INTERIM + 1):
        head = await end.read_head()
        if head.status >= 200:
            return head
    raise BadResponse("interim answers only")


async def _read_body(end: AskingEnd, most: int) -> bytes:
    """Up to its end, or until it is longer than `most` bytes."""
    body = b""
    while len(body) <= most and (piece := await end.read_body()):
        body += piece
    return body
