"""Plays the application before the outbound recipe, over a connection within the process: for a question of the operator's (`explain.py`).

    touch    connects, says a TLS hello or nothing, and sees what becomes of it
    ask      sends one request, and reads its answer

Trust: as the application is to the recipe: nobody. What it sends is a question's request, judged as one (`protocol/asked.py`).
"""

import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from sidecar.model.errors import BadResponse, NotVerified, ReasonedError, Unavailable
from sidecar.model.message import RequestHead, ResponseHead
from sidecar.model.reason import BY_CODE
from sidecar.net.http1_client import Http1Client
from sidecar.net.in_process import connection
from sidecar.net.presented import presented
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import Context
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify import UNREADABLE
from sidecar.net.verify_host import verify_host
from sidecar.telemetry.access_log import Record

from .accounts import Accounts

LOOK_EVERY_S = 0.02
LEAVE_S = 3.0
MAX_INTERIM = 8
MAX_ANSWER_BYTES = 1 << 20      # of a body that is read; a longer one is cut

Serve = Callable[[socket.socket], Awaitable[None]]      # the recipe


class Wanted(NamedTuple):
    """
    Args:
        context: the TLS that the application speaks; None: it says nothing.
        is_patient: it waits; else it ends at once, since the recipe may wait for words of its own.
        is_verified: the recipe itself must come to speak TLS before it is done.
        is_led: by a gateway, which says later whether it gives leave.
    """

    host: str
    context: Context | None
    is_patient: bool
    is_verified: bool
    is_led: bool


async def touch(serve: Serve, record: Record, wanted: Wanted, accounts: Accounts) -> dict[str, str] | ReasonedError | None:
    """Returns when the recipe has connected. Raises Unavailable where it refuses.

    Args:
        record: the recipe's.

    Returns: what the other end has shown in TLS, or why the application's would not believe it; None: no TLS.
    """
    shown: dict[str, str] | ReasonedError | None = None
    with connection() as (ours, theirs):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await serve(theirs)
                nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            if wanted.context is not None:
                try:        # within the nursery, which would wrap what is raised
                    shown = presented(await _hello(ours, wanted.host, wanted.context))
                except NotVerified as exc:
                    shown = exc
            else:
                if not wanted.is_patient:
                    await SocketStream(ours).send_eof()
                # The recipe says so to its record alone, which wakes nobody.
                while not record.upstream or (wanted.is_verified and not record.tls):  # noqa: ASYNC110
                    await trio.sleep(LOOK_EVERY_S)
                if (stream := accounts.stream(record.connection)) is not None:
                    shown = presented(stream)
                if wanted.is_led:
                    await trio.sleep(LEAVE_S)
            nursery.cancel_scope.cancel()
    _refused(record)
    return shown


async def ask(serve: Serve, record: Record, request: RequestHead, context: Context | None) -> ResponseHead:
    """The head of the answer. Raises ReasonedError where there is none, or where a sidecar has refused.

    Args:
        record: the recipe's, of a connection.
        context: the application speaks TLS itself; None: plain HTTP.
    """
    response: ResponseHead | None = None
    failure: ReasonedError | None = None
    with connection() as (ours, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, theirs)
            try:
                response = await _exchange(ours, request, context)
            except ReasonedError as exc:
                failure = exc
            nursery.cancel_scope.cancel()
    _refused(record)
    if response is None:
        assert failure is not None, "there is the one or the other"
        raise failure
    if (refused := told(response)) is not None:
        raise refused
    return response


def told(response: ResponseHead) -> Unavailable | None:
    """What a sidecar refused, by its own words."""
    said, rule = (next((value.decode("latin-1") for field, value in response.headers if field.lower() == name), "")
                  for name in (b"x-bartizan-reason", b"x-bartizan-rule"))
    reason = BY_CODE.get(said[:6])
    return Unavailable(reason, f"{response.status} {said}" + (f", rule {rule}" if rule else "")) if reason is not None else None


def _refused(record: Record) -> None:
    if record.code:
        raise Unavailable(BY_CODE[record.code], record.detail)


async def _hello(ours: socket.socket, host: str, context: Context) -> TlsStream:
    """TLS as a client of the host's would speak it; what it finds binds nobody."""
    stream = TlsStream(context, ours, is_server=False, server_name=host)
    await stream.handshake(NotVerified)
    try:
        certificate = stream.connection.get_peer_certificate(as_cryptography=True)
    except UNREADABLE as exc:
        raise NotVerified(f"the certificate is unusable for {host}: {exc}") from exc
    verify_host(certificate, host)
    return stream


async def _exchange(ours: socket.socket, request: RequestHead, context: Context | None) -> ResponseHead:
    host = request.host.decode("ascii")
    end = Http1Client(await _hello(ours, host, context) if context is not None else SocketStream(ours)).open()
    authority = request.host if request.port is None else b"%b:%d" % (request.host, request.port)
    await end.send_request(request, authority, [], b"", is_end=True)
    for _ in range(MAX_INTERIM + 1):
        response = await end.read_head()
        if response.status >= 200:
            break
    else:
        raise BadResponse(f"more than {MAX_INTERIM} interim responses")
    size = 0
    while size < MAX_ANSWER_BYTES and (piece := await end.read_body()):
        size += len(piece)
    return response
