"""Bytes that enter and are no HTTP: whose they may be, and for how long."""

import socket
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import NotVerified
from sidecar.model.reason import Reason
from sidecar.model.route import Caller, Match, PathMatch, RateLimit, Route
from sidecar.model.service import Protocol
from sidecar.model.snapshot import Inbound, PortMode
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_context import ALPN_TCP, https_client
from sidecar.net.tls_stream import TlsStream
from tests.helpers import network
from tests.helpers.exchange import GET, OK
from tests.helpers.inbound import ADMIN_FIRST, BY_WEB, FROM_WEB, OPAQUE, PERMISSIVE, of_orders
from tests.helpers.leave import https, partner
from tests.helpers.mesh import APP, arrive, call, echo, http_app, is_gone, meshed, read_rest, read_until, root
from tests.helpers.pki import WEB
from tests.helpers.runtime import Bench


async def opaque(nursery: trio.Nursery, known: Bench) -> TlsStream:
    return await call(arrive(nursery, known), alpn=ALPN_TCP)


async def test_opaque_bytes_and_half_close(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of_orders(Inbound(ports=OPAQUE, routes=(Route("db", BY_WEB),))))
    known.dialer.servers[APP] = echo
    stream = await opaque(nursery, known)
    await stream.send_all(b"ping")
    assert await read_until(stream, b"ping") == b"ping"
    await stream.send_eof()
    assert await read_rest(stream) == b""
    stream.close()
    await wait_all_tasks_blocked()
    (line,) = known.lines
    assert (line["rule"], line["peer"], line["received"], line["sent"]) == ("db", WEB, 4, 4)


async def test_opaque_bytes_pause_as_long_as_their_rule_says(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of_orders(Inbound(ports=OPAQUE, routes=(Route("db", BY_WEB, idle_s=7),))))
    known.dialer.servers[APP] = echo
    assert await is_gone(await opaque(nursery, known))
    assert trio.current_time() == 7


async def test_opaque_bytes_are_cut_when_the_leave_is_withdrawn(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of_orders(Inbound(ports=OPAQUE, routes=(Route("db", BY_WEB),))))
    known.dialer.servers[APP] = echo
    stream = await opaque(nursery, known)
    await stream.send_all(b"ping")
    await read_until(stream, b"ping")
    known.runtime.rules.set(of_orders(Inbound(ports=OPAQUE, routes=(Route("db", ()),))))
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    assert trio.current_time() == 0


async def greet(sock: socket.socket) -> None:
    await SocketStream(sock).send_all(b"220 hello")
    await trio.sleep_forever()


@pytest.mark.parametrize(("change", "greeting", "at", "codes"), [
    ({}, b"220 hello", 3, []),
    ({"ports": {8080: "http"}}, b"", 10, ["BZ0311"]),
    ({"mode": "strict"}, b"", 10, ["BZ0311"]),
    ({"port_modes": {8080: PortMode("strict")}}, b"", 10, ["BZ0311"]),
    ({"routes": (Route("db", (Caller(source="192.0.2.0/24"),)),)}, b"", 3, ["BZ0102"]),
])
async def test_a_server_that_speaks_first_to_who_has_no_sidecar(
    change: dict[str, Any], greeting: bytes, at: float, codes: list[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Where plaintext may enter, nobody is asked for a first byte on an opaque port; whom rules refuse is refused all the same."""
    known = meshed(nursery, of_orders(replace(PERMISSIVE, **{"ports": OPAQUE, **change})))
    known.dialer.servers[APP] = greet
    stream = SocketStream(arrive(nursery, known))
    assert await stream.receive_some() == greeting
    assert (trio.current_time(), known.codes) == (at, codes)
    stream.close()


@pytest.mark.parametrize("declared", [{8080: "app-tls"}, {8080: "opaque"}, {}])
async def test_the_applications_own_tls_passes_where_plaintext_may_enter(
    declared: dict[int, Protocol], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The certificate is the application's, and what is said in between nobody here can read."""
    known, holder, heard = meshed(nursery, of_orders(replace(PERMISSIVE, ports=declared))), partner("orders.shop"), []
    known.dialer.servers[APP] = https(holder, http_app(heard, OK))
    stream = TlsStream(https_client([root("public").certificate]), arrive(nursery, known), is_server=False, server_name="orders.shop")
    await stream.handshake(NotVerified)
    assert stream.connection.get_peer_certificate(as_cryptography=True) == holder.certificate
    await stream.send_all(GET)
    assert await read_until(stream, b"ok") == OK
    assert b"x-forwarded" not in heard[0]
    stream.close()


@pytest.mark.parametrize(("inbound", "code"), [
    (Inbound(routes=(Route("db", (Caller("other", "shop"),)),)), "BZ0102"),
    (Inbound(routes=(Route("only-http", BY_WEB, matches=(Match(PathMatch("/")),)),)), "BZ0101"),
    (ADMIN_FIRST, "BZ0101"),
    (Inbound(ports={8080: "http"}), "BZ0310"),
    (Inbound(), "BZ0310"),
    (Inbound(without_routes="nothing"), "BZ0101"),
])
async def test_bytes_that_nobody_reads_pass_no_rule_about_requests(
    inbound: Inbound, code: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Else who may call `/` of a port could call `/admin`, too, by not saying that it speaks HTTP."""
    known = meshed(nursery, of_orders(inbound))
    known.dialer.servers[APP] = echo
    stream = await opaque(nursery, known)
    await stream.send_all(b"GET /admin HTTP/1.1\r\nhost: a\r\n\r\n")
    assert await is_gone(stream)
    assert known.dialer.dialled == []
    assert known.codes == [code]


async def test_plaintext_that_does_not_look_like_http_neither(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of_orders(Inbound(mode="permissive", permissive_until=4e9, routes=ADMIN_FIRST.routes)))
    known.dialer.servers[APP] = echo
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(b"G\xc9T /admin HTTP/1.1\r\nhost: a\r\n\r\n")
    assert await is_gone(stream)
    assert known.dialer.dialled == []


async def test_who_is_refused_sees_an_end_and_no_reset(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of_orders(replace(PERMISSIVE, ports={8080: "http2"})))
    stream = SocketStream(arrive(nursery, known))
    await stream.send_all(b"INVALID CONNECTION PREFACE\r\n\r\n")
    assert await read_rest(stream) == b""
    assert known.codes == [Reason.NOT_HTTP.code]


async def test_limits_hold_for_tcp_connections_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery, of_orders(Inbound(ports=OPAQUE, routes=(Route("db", BY_WEB, concurrency=1, rate_limit=RateLimit(2, 60.0)),))))
    known.dialer.servers[APP] = echo
    one = await call(arrive(nursery, known), alpn=ALPN_TCP)
    await one.send_all(b"a")
    assert await one.receive_some() == b"a"
    two = await call(arrive(nursery, known), alpn=ALPN_TCP)
    assert await is_gone(two)
    one.close()
    await wait_all_tasks_blocked()
    three = await call(arrive(nursery, known), alpn=ALPN_TCP)
    assert await is_gone(three)
    await wait_all_tasks_blocked()
    assert known.codes == ["BZ0107", "", "BZ0106"]
    assert not known.runtime.admission.under_way
    for end in (two, three):
        end.close()


@pytest.mark.parametrize("protocol", ["http", "http1", "http2"])
async def test_a_port_that_speaks_http_takes_no_other_connection(
    nursery: trio.Nursery, autojump_clock: MockClock, protocol: Any
) -> None:
    known = meshed(nursery, of_orders(Inbound(ports={APP.port: protocol})))
    known.dialer.servers[APP] = echo
    stream = await call(arrive(nursery, known), alpn=ALPN_TCP)
    assert await is_gone(stream)
    assert known.codes == ["BZ0310"]
    stream.close()


async def test_bytes_that_are_listed_no_longer_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    inbound = Inbound(ports=OPAQUE)
    known = meshed(nursery, network.entering(of_orders(inbound), FROM_WEB))
    known.dialer.servers[APP] = echo
    stream = await call(arrive(nursery, known), alpn=ALPN_TCP)
    await stream.send_all(b"ping")
    assert await read_until(stream, b"ping") == b"ping"
    known.runtime.rules.set(network.entering(of_orders(inbound), FROM_WEB, port=9090))
    assert await is_gone(stream)
    other = await call(arrive(nursery, known), alpn=ALPN_TCP)
    assert await is_gone(other)
    await wait_all_tasks_blocked()
    assert known.codes == ["", "BZ0112"]
    assert known.dialer.dialled == [APP]
