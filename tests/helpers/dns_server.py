"""A name server on loopback that answers as it is told, over UDP and TCP on one port, and remembers what it was asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import trio

# The datagrams to send back, in order.
Script = Callable[[dns.message.Message], list[bytes]]


@dataclass
class DnsServer:
    """
    Args:
        script: answers over UDP; over TCP the last of its messages, whole.
        asked: `A example.com` over UDP, `tcp A example.com` over TCP.
    """

    script: Script
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def records(*texts: str, code: str = "NOERROR", truncated: bool = False) -> Script:
    """Always the same answer, of records `name ttl type value`; those of another type than asked are left out, aliases are not."""

    def script(query: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.from_text(code))
        kind = query.question[0].rdtype.name
        for text in texts:
            name, ttl, of, value = text.split()
            if of in (kind, "CNAME"):
                reply.answer.append(dns.rrset.from_text(name + ".", int(ttl), "IN", of, value + "." * (of == "CNAME")))
        if truncated:
            reply.flags |= dns.flags.TC
        return [reply.to_wire()]

    return script


@asynccontextmanager
async def serving(script: Script, tcp_script: Script | None = None) -> AsyncIterator[DnsServer]:
    server = DnsServer(script)

    def note(query: dns.message.Message, how: str = "") -> None:
        question = query.question[0]
        server.asked.append(f"{how}{question.rdtype.name} {question.name.to_text(omit_final_dot=True)}")

    async def serve_udp(sock: trio.socket.SocketType) -> None:
        while True:
            data, peer = await sock.recvfrom(4096)
            query = dns.message.from_wire(data)
            note(query)
            for answer in server.script(query):
                await sock.sendto(answer, peer)

    async def serve_tcp(stream: trio.SocketStream) -> None:
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            more = await stream.receive_some()
            if not more:
                return
            data += more
        query = dns.message.from_wire(data[2:])
        note(query, "tcp ")
        try:
            for answer in (tcp_script or server.script)(query):
                await stream.send_all(len(answer).to_bytes(2, "big"))
                await stream.send_all(answer)
        except trio.BrokenResourceError:
            pass    # who asked did not like the first

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as udp:
            await udp.bind(("127.0.0.1", server.port))
            nursery.start_soon(serve_udp, udp)
            nursery.start_soon(trio.serve_listeners, serve_tcp, [listener])
            yield server
            nursery.cancel_scope.cancel()
