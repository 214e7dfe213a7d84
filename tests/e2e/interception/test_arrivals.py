"""What the packet rules must leave the sidecar: all that is sent to it, and where that was going."""

import os
import re
import socket

import pytest

from sidecar.model import ports
from sidecar.net.original_dst import original_dst
from tests.e2e.interception.support import NETNS, Pod
from tests.helpers.netns import DOMAIN, FAR, POD

pytestmark = NETNS


@pytest.mark.parametrize("family", [4, 6])
def test_all_data_arrives_that_the_sidecar_left_behind_in_a_closed_socket(pod: Pod, family: int) -> None:
    """Orphaned packets have no owner. On the way: neighbour discovery from nothing, and a link with a smaller MTU."""
    data = os.urandom(2_000_000)
    for space in (pod.space, pod.where.node):
        space.run(f"ip -{family} neigh flush all")
    with pod.where.far.entered():
        server = socket.create_server((FAR[family], 8080), family=DOMAIN[family])
    with server:
        with pod.socket(family, socket.SOCK_STREAM, is_sidecar=True) as client:
            client.connect((FAR[family], 8080))
            client.setblocking(False)
            assert client.send(data) == len(data)
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(5)
            received = bytearray()
            while chunk := accepted.recv(1 << 16):
                received += chunk
    assert received == data


@pytest.mark.parametrize("port", [ports.HEALTH, ports.OUTBOUND, ports.DNS, 8080])
@pytest.mark.parametrize("family", [4, 6])
def test_what_enters_is_led_to_the_sidecar_whatever_port_it_meant(pod: Pod, family: int, port: int) -> None:
    """So nobody reaches the listeners of the loopback: the inbound one sees which port was meant, and refuses its own."""
    with pod.socket(family, socket.SOCK_STREAM, is_sidecar=True) as listener, pod.where.far.entered(), \
            socket.socket(DOMAIN[family]) as client:
        listener.bind(("", ports.INBOUND))
        listener.listen()
        client.settimeout(5)
        client.connect((POD[family], port))
        with listener.accept()[0] as accepted:
            assert original_dst(accepted) == (POD[family], port)


def test_what_enters_by_a_link_local_address_is_led_to_the_sidecar(pod: Pod) -> None:
    found = re.search("inet6 (fe80[^/]*)", pod.space.run("ip -6 addr show dev eth0"))
    assert found
    with pod.socket(6, socket.SOCK_STREAM, is_sidecar=True) as listener, pod.where.node.entered(), socket.socket(socket.AF_INET6) as client:
        listener.bind(("", ports.INBOUND))
        listener.listen()
        client.settimeout(5)
        client.connect((found[1], 8080, 0, socket.if_nametoindex("pod0")))
        with listener.accept()[0] as accepted:
            assert original_dst(accepted) == (found[1], 8080)


def test_a_dual_stack_listener_knows_where_an_ipv4_peer_was_going(pod: Pod) -> None:
    with pod.socket(6, socket.SOCK_STREAM, is_sidecar=True) as listener, pod.where.far.entered(), socket.socket() as client:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("", ports.INBOUND))
        listener.listen()
        client.settimeout(5)
        client.connect((POD[4], 8080))
        with listener.accept()[0] as accepted:
            assert accepted.getpeername()[0].startswith("::ffff:")
            assert original_dst(accepted) == (POD[4], 8080)
