"""An application behind the outbound recipe, the names that its sidecar's resolvers know, and servers that speak TLS."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import dns.message
import trio
from OpenSSL import SSL

from sidecar.model import ports
from sidecar.model.address import Address
from sidecar.model.errors import NotResolved, NotVerified, TlsRejected
from sidecar.net.canary import CanaryArrivals
from sidecar.net.resolve import Resolver
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import https_client, https_server
from sidecar.net.tls_stream import TlsStream
from sidecar.policy.rules import Rules
from sidecar.proxy.dns_guard import DnsGuard
from sidecar.proxy.originate import Originator
from sidecar.proxy.outbound import serve_outbound
from tests.helpers import pki
from tests.helpers.mesh import meshed, root
from tests.helpers.pki import WEB
from tests.helpers.runtime import Bench, Redirected, Serve, kept_pair


class FakeResolver(Resolver):
    """
    Args:
        names: what is known; () has no address.
        replies: to queries that are asked on, by server; where there is none, nobody answers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, tuple[str, ...]] = {}
        self.replies: dict[Address, dns.message.Message | Exception] = {}
        self.asked: list[str] = []

    def known(self, name: str, resolvers: tuple[str, ...]) -> tuple[str, ...] | None:
        """What was asked for before is remembered; as it is now, so that no test waits for its end."""
        if name not in self.asked or name not in self.names:
            return None
        self.asked.append(name)
        return self.names[name]

    async def resolve(self, name: str, resolvers: Sequence[str]) -> tuple[str, ...]:
        self.asked.append(name)
        await trio.lowlevel.checkpoint()
        if name not in self.names:
            raise NotResolved(f"{name}: nobody knows")
        return self.names[name]

    async def exchange(self, query: dns.message.Message, server: Address) -> dns.message.Message:
        self.asked.append(f"{query.question[0].name} {server}")
        if server not in self.replies:
            await trio.sleep_forever()
        reply = self.replies[server]
        if isinstance(reply, Exception):
            raise reply
        return dns.message.from_wire(reply.to_wire())


@dataclass
class Pod:
    """The bench of the sidecar through which its application goes out."""

    bench: Bench
    nursery: trio.Nursery
    resolver: FakeResolver = field(default_factory=FakeResolver)
    arrivals: CanaryArrivals = field(default_factory=CanaryArrivals)

    def __post_init__(self) -> None:
        runtime = self.bench.runtime
        self.originator = Originator(runtime.rules, self.resolver)
        self.guard = DnsGuard(runtime, self.resolver)

    def dial(self, to: Address | None, port: int = ports.OUTBOUND) -> SocketStream:
        """The application's end of a connection that it opened to `to`."""
        ours, theirs = kept_pair(self.nursery)

        async def serve() -> None:
            with Redirected(theirs, to, "127.0.0.1", port=port) as sock:
                await serve_outbound(sock, self.bench.runtime, self.originator, self.guard, self.arrivals)

        self.nursery.start_soon(serve)
        return SocketStream(ours)


def pod(nursery: trio.Nursery, known: Rules | None, identity: str = WEB) -> Pod:
    made = Pod(meshed(nursery, known, identity), nursery)
    made.bench.runtime.rules.set(known)
    return made


def https(
    holder: pki.Holder, serve: Serve, *, client_root: pki.Holder | None = None, seen: list[TlsStream] | None = None,
    most: int = SSL.TLS1_3_VERSION,
) -> Serve:
    """A server that speaks TLS before it serves with `serve`, which gets the plaintext end of a relay.

    Args:
        seen: gets each connection whose handshake succeeded.
        most: the newest TLS that it speaks.
    """
    context = https_server(pki.server_credentials(holder, client_root))
    context.set_max_proto_version(most)

    async def terminate(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        try:
            await stream.handshake(TlsRejected)
        except TlsRejected:
            return
        if seen is not None:
            seen.append(stream)
        async with trio.open_nursery() as nursery:
            ours, theirs = kept_pair(nursery)
            inner = SocketStream(ours)

            async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
                try:
                    while data := await source.receive_some():
                        await sink.send_all(data)
                    await sink.send_eof()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    nursery.cancel_scope.cancel()

            async def play() -> None:
                with theirs:
                    await serve(theirs)

            nursery.start_soon(pump, stream, inner)
            nursery.start_soon(pump, inner, stream)
            nursery.start_soon(play)

    return terminate


async def own_tls(app: SocketStream, name: str | None = "api.partner.example") -> TlsStream:
    """The application's TLS, end to end."""
    stream = TlsStream(https_client([root("public").certificate]), app.sock, is_server=False, server_name=name)
    await stream.handshake(NotVerified)
    return stream


def partner(*names: str, authority: str = "public") -> pki.Holder:
    """A web server's certificate."""
    return pki.issue(root(authority), *(pki.host(name) for name in names))


def tls_that(host: str, says: bytes, most: int = SSL.TLS1_3_VERSION) -> Serve:
    """A verified host that answers with so much, and closes."""
    context, holder = SSL.Context(SSL.TLS_SERVER_METHOD), partner(host)
    context.set_max_proto_version(most)
    context.use_certificate(holder.certificate)
    context.use_privatekey(holder.key)

    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        try:
            await stream.handshake(NotVerified)
            await stream.receive_some()
            await stream.send_all(says)
        except NotVerified:
            pass
        stream.close()

    return serve
