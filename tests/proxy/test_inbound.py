"""What arrives at the inbound port: for whom it must be, before anything else is asked."""

import socket

import pytest
import trio

from sidecar.model.address import Address
from sidecar.model.snapshot import Inbound
from sidecar.net.pool import close_all
from sidecar.net.socket_stream import SocketStream
from sidecar.proxy.inbound import serve_inbound
from tests.helpers.runtime import NOW, POD, Bench, Redirected, bench, rules, socket_pair

PERMISSIVE = Inbound(mode="permissive", permissive_until=NOW + 60, without_routes="mesh")
REQUEST = b"GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def ask(to: Address) -> tuple[bytes, Bench]:
    async def app(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        await stream.receive_some()
        await stream.send_all(RESPONSE)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            made = bench(nursery, rules(inbound=PERMISSIVE))
            made.dialer.servers[to] = app
            client, arrived = socket_pair()
            with client:
                client.sendall(REQUEST)
                client.shutdown(socket.SHUT_WR)
                redirected = Redirected(arrived, to)
                await serve_inbound(redirected, made.runtime, {})
                redirected.close()
                close_all(made.runtime.pool.empty())
                try:
                    return client.recv(65536), made
                except ConnectionResetError:
                    return b"", made


async def test_what_is_for_the_pod_is_forwarded() -> None:
    answer, made = await ask(Address(POD, 8080))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert made.dialer.dialled == [Address(POD, 8080)]


@pytest.mark.parametrize("host", ["203.0.113.99", "169.254.169.254", "10.1.0.6", "127.0.0.1"])
async def test_what_a_neighbour_routes_through_the_pod_is_not(host: str) -> None:
    """Whoever shares the link can send packets for any address to the pod, and the redirect takes them all."""
    _, made = await ask(Address(host, 8080))
    assert made.dialer.dialled == []
    assert made.codes == ["BZ0105"]
