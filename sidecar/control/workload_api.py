"""The SPIFFE Workload API for the containers of this pod: gRPC on a Unix socket. An SVID of the application's own, and the roots.

    1 the metadata that no forged request carries    2 which method    3 a well-formed request
    4 messages: one now, one at each change          5 a status, when there is nothing more to say

Who reaches the socket is entitled: it lies in a volume of this pod, which the other containers mount to read only, so that none
can put another in its place.

Trust: what comes in is the application's; what goes out is its own key, never the sidecar's. Attacked by
tests/control/test_workload_api.py.
Spec: SPIFFE_Workload_API s4, s5; SPIFFE_Workload_Endpoint s3, s6. No JWT-SVIDs, no reflection.
"""

import socket
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar.model.errors import ProtocolViolation
from sidecar.model.message import NO_BODY, Body, BodyKind, Headers, RequestHead, ResponseHead
from sidecar.net.socket_stream import SocketStream, linger
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from sidecar.protocol.protobuf import read_message
from sidecar.protocol.workload_api import (
    FETCH_X509_BUNDLES,
    FETCH_X509_SVID,
    MAX_REQUEST_BYTES,
    X509Svid,
    render_x509_bundles,
    render_x509_svids,
)

from .application_svid import ApplicationSvid, Held, Lacking

if TYPE_CHECKING:   # 1.5 MB that a pod does without until somebody asks
    from sidecar.net.http2_server import Http2ServingEnd, Refused

MOST_CONNECTIONS = 64
REQUEST_S = 10.0
FIRST_ANSWER_S = 15.0
MOST_WORDS = 500        # of a grpc-message
# > Percent-Byte-Unencoded -> 1*( %x20-%x24 / %x26-%x7E ) (gRPC over HTTP2)
_UNENCODED = bytes({*range(0x20, 0x7F)} - {0x25})

T = TypeVar("T")
_GRPC: Headers = [(b"content-type", b"application/grpc")]


class Code(IntEnum):
    """Of gRPC; those that SPIFFE_Workload_Endpoint s6 names, and what is not a message."""

    INVALID_ARGUMENT = 3
    PERMISSION_DENIED = 7
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Status(Exception):
    """Ends a call."""

    def __init__(self, code: Code, message: str) -> None:
        self.code = code
        super().__init__(message)


class WorkloadApi:
    """
    Args:
        tls: the sidecar's own, for the roots.
    """

    def __init__(self, svid: ApplicationSvid, tls: Watched[MeshTls | None]) -> None:
        self._svid = svid
        self._tls = tls

    async def serve(self, sock: socket.socket) -> None:
        """One connection, until the client closes it or breaks a rule."""
        from sidecar.net.http2_server import Http2Server

        stream = SocketStream(sock)
        server = Http2Server(stream, host=b"localhost")     # gRPC's core says the path of the socket instead, percent-encoded
        async with trio.open_nursery() as calls:
            try:
                while (found := await server.next_exchange()) is not None:
                    calls.start_soon(self._call, found)
            except ProtocolViolation:
                pass    # the client has been told
        await linger(stream)

    async def _call(self, found: "Http2ServingEnd | Refused") -> None:
        from sidecar.net.http2_server import Refused

        end = found.end if isinstance(found, Refused) else found
        if end is None:
            return
        try:
            with end.scope:
                if isinstance(found, Refused) or not _is_grpc(found.request):
                    # > [If it] does not begin with "application/grpc", gRPC servers SHOULD respond with [...] 415 (gRPC over HTTP2)
                    await end.send_head(ResponseHead(415, b"", [], NO_BODY, None, False), b"", is_end=True)
                else:
                    await self._answer(found)
        finally:
            end.finish()

    async def _answer(self, end: "Http2ServingEnd") -> None:
        answer = _Answer(end)
        try:
            # > Requests not including this metadata key/value MUST be rejected (SPIFFE_Workload_Endpoint s3): it shows that whoever
            # asks speaks for itself, and was not talked into it by a URL.
            if [value for name, value in end.request.headers if name == b"workload.spiffe.io"] != [b"true"]:
                raise Status(Code.INVALID_ARGUMENT, "security header missing: the metadata workload.spiffe.io must be `true`")
            target = end.request.target
            if target not in (FETCH_X509_SVID, FETCH_X509_BUNDLES):
                raise Status(Code.UNIMPLEMENTED, "served here are FetchX509SVID and FetchX509Bundles")
            await _read_request(end)
            if target == FETCH_X509_SVID:
                with self._svid.wanted():
                    await _stream(answer, self._svid.state, _svids)
            else:
                await _stream(answer, self._tls, _bundles)
        except Status as status:
            await answer.end(status)


class _Answer:
    """The messages of one call, and its status behind them, or alone."""

    def __init__(self, end: "Http2ServingEnd") -> None:
        self._end = end
        self._has_begun = False

    async def send(self, message: bytes) -> None:
        if self._has_begun:
            await self._end.send_body(message, is_end=False)
        else:
            self._has_begun = True
            await self._end.send_head(ResponseHead(200, b"", _GRPC, Body(BodyKind.CHUNKED), None, False), message, is_end=False)

    async def end(self, status: Status) -> None:
        words = quote(str(status)[:MOST_WORDS], safe=_UNENCODED).encode()
        said: Headers = [(b"grpc-status", b"%d" % status.code), (b"grpc-message", words)]
        if self._has_begun:
            await self._end.send_body(b"", is_end=True, trailers=said)
        else:
            await self._end.send_head(ResponseHead(200, b"", [*_GRPC, *said], NO_BODY, None, False), b"", is_end=True)


async def _stream(answer: _Answer, source: Watched[T], render: Callable[[T], bytes | None]) -> None:
    """The message that `source` renders to, anew whenever it is another one, until that raises Status."""
    sent = b""
    with trio.move_on_after(FIRST_ANSWER_S) as first:
        while True:
            current = source.current
            message = render(current)
            if message is not None and message != sent:
                first.deadline = float("inf")
                await answer.send(message)
                sent = message
            await source.wait_change(current)
    raise Status(Code.UNAVAILABLE, "this pod has no identity yet")


async def _read_request(end: "Http2ServingEnd") -> None:
    body = b""
    try:
        with trio.fail_after(REQUEST_S):
            while piece := await end.read_body():
                body += piece
                if len(body) > MAX_REQUEST_BYTES:
                    raise ValueError(f"a request of more than {MAX_REQUEST_BYTES} bytes")
        read_message(body)
    except (ValueError, trio.TooSlowError) as exc:
        raise Status(Code.INTERNAL, str(exc) or f"no whole request within {REQUEST_S:g} s") from exc


def _svids(state: Held | Lacking | None) -> bytes | None:
    if isinstance(state, Lacking):
        raise Status(Code.PERMISSION_DENIED if state.is_final else Code.UNAVAILABLE, state.why)
    if state is None:
        return None
    credentials = state.credentials
    key = credentials.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return render_x509_svids([X509Svid(credentials.identity, _der(credentials.chain), key, _der(state.roots))])


def _bundles(tls: MeshTls | None) -> bytes | None:
    if tls is None:
        return None
    return render_x509_bundles([(f"spiffe://{tls.credentials.trust_domain}", _der(tls.anchors.roots))])


def _der(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def _is_grpc(request: RequestHead) -> bool:
    kinds = [value for name, value in request.headers if name == b"content-type"]
    return request.method == b"POST" and len(kinds) == 1 and kinds[0].startswith(b"application/grpc")
