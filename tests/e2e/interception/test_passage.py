"""What a MeshPolicy lets pass the sidecar by, and nothing else."""

import socket

import pytest

from sidecar.intercept import rules
from sidecar.model import ports
from sidecar.net.original_dst import original_dst
from tests.e2e.interception.support import IN_PORT, NETNS, OUT_PORT, UDP_PORT, UIDS, Pod
from tests.helpers.netns import DOMAIN, FAR, LOOPBACK, NODE, POD, Namespace

pytestmark = NETNS


@pytest.mark.parametrize("family", [4, 6])
def test_approved_datagrams_pass_and_no_others(passing: Pod, family: int) -> None:
    def fate(host: str, port: int) -> str:
        with passing.socket(family, socket.SOCK_DGRAM, is_sidecar=False) as sock:
            try:
                sock.sendto(b"datagram", (host, port))
                return "sent"
            except PermissionError:
                return "refused"

    with passing.where.far.entered():
        server = socket.socket(DOMAIN[family], socket.SOCK_DGRAM)
        server.bind((FAR[family], UDP_PORT))
        server.settimeout(5)
    with server, passing.socket(family, socket.SOCK_DGRAM, is_sidecar=False) as app:
        app.sendto(b"question", (FAR[family], UDP_PORT))
        _, peer = server.recvfrom(100)
        server.sendto(b"answer", peer)
        assert app.recvfrom(100)[0] == b"answer"
    passing.left()
    others = [(FAR[family], UDP_PORT + 1), (NODE[family], UDP_PORT), (NODE[family], 9), (FAR[family], 443)]
    assert {fate(*to) for to in others} == {"refused"}
    # A question still goes to the guard, who does not listen here.
    assert fate(FAR[family], 53) == "sent"
    assert passing.left() == []


@pytest.mark.parametrize("family", [4, 6])
def test_excluded_connections_pass_and_no_others(passing: Pod, family: int) -> None:
    def serves(space: Namespace, host: str, port: int) -> socket.socket:
        with space.entered():
            return socket.create_server((host, port), family=DOMAIN[family], reuse_port=True)

    for space, host, port in ((passing.where.far, FAR[family], OUT_PORT), (passing.where.node, NODE[family], 8080)):
        with serves(space, host, port) as server, passing.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
            app.connect((host, port))
            with server.accept()[0] as accepted:
                app.sendall(b"question")
                assert accepted.recv(100) == b"question"
    passing.left()
    with passing.socket(family, socket.SOCK_STREAM, is_sidecar=True) as sidecar:
        sidecar.bind((LOOPBACK[family], ports.OUTBOUND))
        sidecar.listen()
        for to in ((FAR[family], 8080), (NODE[family], 53)):      # a resolver's address is excluded, its DNS is not
            with passing.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
                app.connect(to)
                with sidecar.accept()[0] as accepted:
                    assert original_dst(accepted) == to
    assert passing.left() == []


@pytest.mark.parametrize("family", [4, 6])
def test_at_an_excluded_port_the_application_is_reached_and_cannot_set_out(passing: Pod, family: int) -> None:
    with passing.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
        app.bind(("", IN_PORT))
        app.listen()
        with passing.where.far.entered(), socket.socket(DOMAIN[family]) as client:
            client.settimeout(5)
            client.connect((POD[family], IN_PORT))
            with app.accept()[0] as accepted:
                accepted.sendall(b"answer")
                assert client.recv(100) == b"answer"
    passing.left()
    for line in rules(family, passing.exemption, UIDS):       # type: ignore[arg-type]
        if line.table == "nat":
            passing.delete(family, line)        # as if the flow were one that nat does not look at any more
    try:
        with passing.socket(family, socket.SOCK_STREAM, is_sidecar=False) as app:
            app.bind(("", IN_PORT))
            with pytest.raises(OSError):
                app.connect((FAR[family], 8080))
    finally:
        passing.load()
    assert passing.left() == []
