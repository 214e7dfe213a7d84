"""Which version of HTTP goes on: the one that the client speaks, unless the port's protocol says that its application knows one only.

So an application gets what its client meant, end to end, and a sidecar translates only where it was told to. What HTTP/2 needs is
loaded with the first connection that speaks it.
"""

from sidecar.model.message import RequestHead
from sidecar.model.service import Protocol
from sidecar.net.ends import Connection
from sidecar.net.http1_client import Http1Client
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream


def speaks_http2(request: RequestHead, protocol: Protocol | None) -> bool:
    """Towards the application whose port speaks `protocol`."""
    if request.upgrade:
        return False    # an upgrade is a thing of HTTP/1.1
    return protocol == "http2" or (request.is_http2 and protocol != "http1")


def client(stream: SocketStream | TlsStream, *, is_http2: bool, scheme: bytes = b"http") -> Connection:
    if not is_http2:
        return Http1Client(stream)
    from sidecar.net.http2_client import Http2Client

    return Http2Client(stream, scheme)
