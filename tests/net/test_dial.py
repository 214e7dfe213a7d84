import os
import resource
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.errors import ConnectFailed
from sidecar.net.dial import Dialer


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def own_ports(dialer: Dialer) -> list[int]:
    return [port for port in range(65536) if port in dialer.own_ports]


def full_listener() -> tuple[socket.socket, list[socket.socket], Address]:
    """A listener whose queue is full: further connections stay unanswered."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = Address(*listener.getsockname())
    queue = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        queue.append(sock)
    return listener, queue, address


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_connected(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        dialer = Dialer()
        with await dialer.connect(Address(host, listener.getsockname()[1])) as sock:
            assert not sock.getblocking()
            assert sock.getpeername()[:2] == listener.getsockname()[:2]
            assert sock.getsockname()[1] not in dialer.own_ports


async def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
    with pytest.raises(ConnectFailed, match=f"{address}: Connection refused"):
        await Dialer().connect(address)


@pytest.mark.parametrize("address", [Address("127.0.0.1", 0), Address("fe80::1", 80)])  # a link-local one says no link here
async def test_no_way_there(address: Address) -> None:
    with pytest.raises(ConnectFailed, match=address.host):
        await Dialer().connect(address)


async def test_out_of_descriptors() -> None:
    """An error like any other: what asks for a copy of a request, say, has no supervisor that would bear another kind."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        with pytest.raises(ConnectFailed, match="Too many open files"):
            await Dialer().connect(Address("127.0.0.1", 80))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_cancelled_on_the_way_nothing_stays_open() -> None:
    listener, queue, address = full_listener()
    dialer = Dialer()
    try:
        before = open_files()
        with trio.move_on_after(0.05) as scope:
            await dialer.connect(address)
        assert scope.cancelled_caught
        assert open_files() == before
        assert own_ports(dialer) == []
    finally:
        for sock in (listener, *queue):
            sock.close()


async def test_while_it_lasts_the_port_is_known_as_ours() -> None:
    listener, queue, address = full_listener()
    dialer = Dialer()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dialer.connect, address)
            await wait_all_tasks_blocked()
            assert len(own_ports(dialer)) == 1
            nursery.cancel_scope.cancel()
        assert own_ports(dialer) == []
    finally:
        for sock in (listener, *queue):
            sock.close()


async def test_the_mark_is_set_or_the_connection_is_not_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
        try:
            with await Dialer(mark=271).connect(address) as sock:
                said = str(sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK))
        except ConnectFailed as exc:
            said = str(exc)
    assert said in ("271", f"{address}: Operation not permitted")
