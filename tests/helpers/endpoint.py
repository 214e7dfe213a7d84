"""The mesh's own endpoints as a sidecar finds them: issuer and injector, played by a handler."""

import socket
from collections.abc import Callable
from contextlib import suppress

import trio

from sidecar.model.call import Answer, Call
from sidecar.model.errors import MeshError
from sidecar.net.deadline import Deadline
from sidecar.net.service import serve_calls
from sidecar.net.socket_stream import SocketStream
from tests.helpers import pki
from tests.helpers.leave import https
from tests.helpers.mesh import root
from tests.helpers.runtime import Serve

HOST = "10.96.0.9"      # an address: a thread resolves the names of endpoints, and the virtual clock would not wait for it
URL = f"https://{HOST}:8443"


def endpoint(
    handle: Callable[[Call], Answer | None], *, authority: str = "root", demands_client: bool = False, max_body_bytes: int = 65536
) -> Serve:
    """Plays an endpoint at URL.

    Args:
        handle: None: never an answer.
        authority: who has signed its certificate.
    """
    async def handler(call: Call) -> Answer:
        answer = handle(call)
        if answer is None:
            await trio.sleep_forever()
        assert answer is not None
        return answer

    async def serve(sock: socket.socket) -> None:
        with suppress(MeshError), Deadline() as deadline:
            await serve_calls(SocketStream(sock), handler, deadline, max_body_bytes=max_body_bytes)

    holder = pki.issue(root(authority), pki.host(HOST))
    return https(holder, serve, client_root=root() if demands_client else None)
