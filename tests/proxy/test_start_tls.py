"""Servers that must be asked for TLS in their own words, applications that know nothing of it, and strangers between them."""

import socket
import struct
from collections.abc import Sequence

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.address import Address
from sidecar.model.egress import EgressHost, GatewayCaller, Origination, StartTls
from sidecar.net.socket_stream import SocketStream
from sidecar.protocol.start_tls.mysql import CLIENT_SSL
from sidecar.protocol.start_tls.postgres import GSS_REQUEST, TLS_REQUEST
from tests.helpers import pki
from tests.helpers.gateway import REF, Gateway, behind, caller_rules, gateway, gateway_rules
from tests.helpers.leave import Pod, https, partner
from tests.helpers.mesh import echo, is_gone, read_rest, read_until
from tests.helpers.pki import WEB
from tests.helpers.runtime import Serve, rules
from tests.protocol.start_tls.test_mysql import greeting, login, packet
from tests.protocol.start_tls.test_postgres import STARTUP
from tests.proxy.test_egress_tcp import DB, ROOTS, SERVER, approved, outside

Turns = Sequence[tuple[int | bytes, bytes]]
WELCOME, OFFER = b"220 mail ready\r\n", b"250-mail\r\n250-STARTTLS\r\n250 HELP\r\n"
EHLO, STARTTLS, GO_AHEAD = b"EHLO [127.0.0.1]\r\n", b"STARTTLS\r\n", b"220 go ahead\r\n"
GREETING, LOGIN = greeting(), login()
REQUEST_BYTES = 36
# What each server hears, or how many bytes of it, and what it answers before TLS begins.
TURNS: dict[StartTls, Turns] = {
    "postgres": [(TLS_REQUEST, b"S")],
    "smtp": [(b"", WELCOME), (EHLO, OFFER), (STARTTLS, GO_AHEAD)],
    "mysql": [(b"", GREETING), (REQUEST_BYTES, b"")],
}
SECRET = {"postgres": STARTUP, "smtp": b"AUTH PLAIN secret\r\n", "mysql": LOGIN}


def speaking(turns: Turns, then: Serve, heard: list[bytes] | None = None) -> Serve:
    """A server that takes turns, and then does as `then`.

    Args:
        heard: gets what it heard.
    """
    async def serve(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        for expected, answer in turns:
            size, said = expected if isinstance(expected, int) else len(expected), b""
            while len(said) < size and (piece := await stream.receive_some(size - len(said))):
                said += piece
            if heard is not None:
                heard.append(said)
            assert isinstance(expected, int) or said == expected
            if answer:
                await stream.send_all(answer)
        await then(sock)

    return serve


def listening(heard: list[bytes]) -> Serve:
    async def serve(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        try:
            heard.append(b"")
            while piece := await stream.receive_some():
                heard[-1] += piece
        except trio.BrokenResourceError:
            pass

    return serve


def asking(nursery: trio.Nursery, protocol: StartTls, serve: Serve) -> tuple[Pod, Address]:
    return outside(nursery, approved(Origination(roots=ROOTS, start_tls=protocol)), serve)


async def begin(protocol: StartTls, app: SocketStream) -> None:
    """Of the application, as far as its protocol wants it before TLS."""
    if protocol == "mysql":
        assert await app.receive_some() == greeting(0xF7FE & ~CLIENT_SSL)
        await app.send_all(LOGIN)


async def hear_the_echo(protocol: StartTls, app: SocketStream) -> None:
    """Of the first that goes through TLS."""
    if protocol == "smtp":
        assert await read_until(app, b"\r\n") == WELCOME
        await app.send_all(b"EHLO web\r\n")
        assert await read_until(app, b"\r\n") == b"EHLO web\r\n"
    elif protocol == "postgres":
        await app.send_all(STARTUP)
        assert await read_until(app, STARTUP[-1:]) == STARTUP
    else:       # its own login comes back: through TLS its number is 2, and then that of an answer, 1
        assert await app.receive_some() == LOGIN[:5] + bytes((LOGIN[5] | 0x08,)) + LOGIN[6:]


@pytest.mark.parametrize("protocol", ["postgres", "smtp", "mysql"])
async def test_what_the_application_says_comes_out_of_tls(
    protocol: StartTls, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web, to = asking(nursery, protocol, speaking(TURNS[protocol], https(partner(DB), echo)))
    app = web.dial(to)
    await begin(protocol, app)
    await hear_the_echo(protocol, app)
    app.close()
    await wait_all_tasks_blocked()
    (line,) = web.bench.lines
    assert (line["security"], line["host"], line.get("code", ""), line["spoken"]) == ("tls", DB, "", "tcp:5432")
    assert line["received"] >= len(STARTUP if protocol == "postgres" else b"EHLO web\r\n" if protocol == "smtp" else LOGIN)


async def test_mysql_goes_on_with_numbers_that_both_understand(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []
    over_tls = packet(2, b"x" * len(LOGIN[4:]))
    turns = [(len(over_tls), packet(3, b"\xfeplugin\0salt")), (24, packet(5, b"\0ok")), (6, packet(1, b"\x01"))]
    web, to = asking(nursery, "mysql", speaking(TURNS["mysql"], https(partner(DB), speaking(turns, echo, heard)), heard))
    app = web.dial(to)
    await begin("mysql", app)
    assert await app.receive_some() == packet(2, b"\xfeplugin\0salt")
    await app.send_all(packet(3, b"p" * 20))
    assert await app.receive_some() == packet(4, b"\0ok")
    await app.send_all(packet(0, b"\x03\x31"))
    assert await app.receive_some() == packet(1, b"\x01")
    assert [said[3:4] for said in heard] == [b"", b"\x01", b"\x02", b"\x04", b"\0"]
    assert b"root" not in heard[1]
    assert b"root" in heard[2]


@pytest.mark.parametrize("asked", [(TLS_REQUEST,), (GSS_REQUEST,), (GSS_REQUEST, TLS_REQUEST)])
async def test_postgresql_that_prefers_encryption_goes_on_without(
    asked: tuple[bytes, ...], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    web, to = asking(nursery, "postgres", speaking(TURNS["postgres"], https(partner(DB), echo)))
    app = web.dial(to)
    for request in asked:
        for byte in request:
            await app.send_all(bytes((byte,)))
            await wait_all_tasks_blocked()
        assert await app.receive_some() == b"N"
    await app.send_all(STARTUP)
    assert await app.receive_some() == STARTUP


async def test_postgresql_cancels_over_a_connection_of_its_own(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []
    web, to = asking(nursery, "postgres", speaking(TURNS["postgres"], https(partner(DB), listening(heard))))
    app = web.dial(to)
    cancel = struct.pack("!IIII", 16, 80877102, 7, 9)
    await app.send_all(cancel)
    await app.send_eof()
    assert await is_gone(app)
    assert heard == [cancel]


async def test_an_application_that_only_looks_whether_somebody_is_there(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = asking(nursery, "postgres", speaking(TURNS["postgres"], https(partner(DB), echo)))
    app = web.dial(to)
    await wait_all_tasks_blocked()
    await app.send_eof()
    assert await is_gone(app)
    await wait_all_tasks_blocked()
    assert web.bench.codes == [""]


# -- by an egress gateway, where the roots are


def led(nursery: trio.Nursery, protocol: StartTls, serve: Serve) -> tuple[Pod, Gateway, Address]:
    """An application whose sidecar must go by a gateway, the gateway, and the name's address."""
    named = EgressHost(DB, "partners/db", (), (), (SERVER.port,), tls=Origination(roots=ROOTS, start_tls=protocol))
    out = gateway(nursery, gateway_rules(GatewayCaller(WEB, (named,))))
    out.resolver.names[DB] = (SERVER.host,)
    out.bench.dialer.servers[SERVER] = serve
    web = behind(nursery, out, caller_rules(replace(named, gateway=REF)))
    address = web.bench.runtime.synthetic.address(DB)
    assert address is not None
    return web, out, Address(address, SERVER.port)


@pytest.mark.parametrize("protocol", ["postgres", "smtp", "mysql"])
async def test_the_gateway_speaks_the_words(protocol: StartTls, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, out, to = led(nursery, protocol, speaking(TURNS[protocol], https(partner(DB), echo)))
    app = web.dial(to)
    await begin(protocol, app)
    if protocol == "postgres":
        await app.send_all(TLS_REQUEST)
        assert await app.receive_some() == b"N"
    await hear_the_echo(protocol, app)
    app.close()
    await wait_all_tasks_blocked()
    assert (web.resolver.asked, out.bench.dialer.dialled) == ([], [SERVER])
    assert [(line["security"], line["host"]) for line in (*web.bench.lines, *out.bench.lines)] == [("mtls", DB), ("tls", DB)]


@pytest.mark.parametrize("protocol", ["postgres", "smtp", "mysql"])
async def test_the_gateways_refusal_reaches_the_application(
    protocol: StartTls, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    rest: list[bytes] = []
    turns = {turns[0][1]: turns for kind, turns, words in REFUSED if kind == protocol and "not offer" in words}
    web, out, to = led(nursery, protocol, speaking(*turns.values(), listening(rest)))
    app = web.dial(to)
    await app.send_all(SECRET[protocol])
    assert b"BZ0213 start-tls-refused" in await app.receive_some()
    app.close()
    await wait_all_tasks_blocked()
    assert out.bench.codes == ["BZ0213"]
    assert rest == [b""]


async def test_without_the_gateway_there_is_no_way(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, _, to = led(nursery, "postgres", speaking(TURNS["postgres"], https(partner(DB), echo)))
    web.bench.dialer.servers = {SERVER: echo}
    assert await is_gone(web.dial(to))
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0214"]
    assert SERVER not in web.bench.dialer.dialled


# -- the server does not do as it must

ERROR = packet(0, b"\xff\x10\x04Too many connections")
REFUSED: list[tuple[StartTls, Turns, str]] = [
    ("postgres", [(TLS_REQUEST, b"N")], "does not offer TLS"),
    ("postgres", [(TLS_REQUEST, b"E\0\0\0\x05\0")], "something else"),
    ("postgres", [(TLS_REQUEST, b"SZ\0\0\0\x05I")], "bytes behind"),
    ("smtp", [(b"", WELCOME), (EHLO, b"250 mail\r\n")], "does not offer STARTTLS"),
    ("smtp", [(b"", b"554 go away\r\n")], "554"),
    ("smtp", [(b"", WELCOME + OFFER)], "bytes behind"),
    ("smtp", [(b"", WELCOME), (EHLO, OFFER + GO_AHEAD)], "bytes behind"),
    ("smtp", [(b"", WELCOME), (EHLO, OFFER), (STARTTLS, b"454 not now\r\n")], "454"),
    ("smtp", [(b"", WELCOME), (EHLO, OFFER), (STARTTLS, GO_AHEAD + b"250 AUTH PLAIN\r\n")], "bytes behind"),
    ("mysql", [(b"", greeting(0xF7FE & ~CLIENT_SSL))], "does not offer TLS"),
    ("mysql", [(b"", ERROR)], "Too many connections"),
    ("mysql", [(b"", GREETING + packet(2, b"\0ok"))], "bytes behind"),
]


@pytest.mark.parametrize(("protocol", "turns", "words"), REFUSED)
async def test_a_server_that_does_not_lead_to_tls_gets_nothing(
    protocol: StartTls, turns: Turns, words: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    rest: list[bytes] = []
    web, to = asking(nursery, protocol, speaking(turns, listening(rest)))
    app = web.dial(to)
    await app.send_all(SECRET[protocol])
    said = await read_rest(app)
    app.close()
    await wait_all_tasks_blocked()
    assert rest == [b""]
    assert web.bench.codes == ["BZ0213"]
    assert words in web.bench.lines[0]["detail"]
    assert "security" not in web.bench.lines[0]
    # It hears why, in its own protocol.
    assert b"BZ0213 start-tls-refused: " in said
    assert said[:4] == {"postgres": b"E" + said[1:4], "smtp": b"421 ", "mysql": said[:3] + b"\0"}[protocol]


@pytest.mark.parametrize("protocol", ["postgres", "smtp", "mysql"])
async def test_bytes_behind_the_answer_that_come_late_are_no_answer_either(
    protocol: StartTls, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """They stand where TLS must: nothing is kept that could be taken for the first bytes inside."""
    rest: list[bytes] = []

    async def inject(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        rest.append(await stream.receive_some())
        await stream.send_all(b"250 injected\r\n")
        await listening(rest)(sock)

    web, to = asking(nursery, protocol, speaking(TURNS[protocol], inject))
    app = web.dial(to)
    await begin(protocol, app)
    if protocol == "postgres":
        await app.send_all(STARTUP)
    said = await read_rest(app)
    app.close()
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0206"]
    assert b"injected" not in said
    assert b"BZ0206 server-not-verified" in said
    assert rest[0][:2] == b"\x16\x03"
    assert not any(secret in b"".join(rest) for secret in SECRET.values())


@pytest.mark.parametrize("protocol", ["postgres", "smtp", "mysql"])
@pytest.mark.parametrize("holder", [partner("other.example"), partner(DB, authority="stranger")], ids=["name", "authority"])
async def test_who_does_not_prove_the_name_gets_nothing(
    holder: pki.Holder, protocol: StartTls, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    heard: list[bytes] = []
    web, to = asking(nursery, protocol, speaking(TURNS[protocol], https(holder, listening(heard))))
    app = web.dial(to)
    await begin(protocol, app)
    if protocol == "postgres":
        await app.send_all(TLS_REQUEST)
        assert await app.receive_some() == b"N"
        await app.send_all(STARTUP)
    said = await read_rest(app)
    app.close()
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0206"]
    assert b"BZ0206 server-not-verified" in said
    assert said[3:4] == b"\x02" or protocol != "mysql", "the number that the application expects"
    assert b"".join(heard) == b""


@pytest.mark.parametrize("protocol", ["postgres", "smtp", "mysql"])
async def test_an_approval_that_ends_meanwhile(protocol: StartTls, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []

    async def late(sock: socket.socket) -> None:
        web.bench.runtime.rules.set(rules())
        await https(partner(DB), listening(heard))(sock)

    web, to = asking(nursery, protocol, speaking(TURNS[protocol], late))
    app = web.dial(to)
    await begin(protocol, app)
    if protocol == "postgres":
        await app.send_all(STARTUP)
    assert b"BZ0201 host-not-approved: no longer permitted" in await read_rest(app)
    app.close()
    await wait_all_tasks_blocked()
    assert web.bench.lines[0]["detail"] == "no longer permitted"
    assert b"".join(heard) == b""


@pytest.mark.parametrize(("protocol", "silent_after"), [
    ("postgres", 0), ("smtp", 0), ("smtp", 1), ("smtp", 2), ("mysql", 0),
])
async def test_a_server_that_falls_silent(
    protocol: StartTls, silent_after: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def silent(_: socket.socket) -> None:
        await trio.sleep_forever()

    web, to = asking(nursery, protocol, speaking(TURNS[protocol][:silent_after], silent))
    app = web.dial(to)
    if protocol == "postgres":
        await app.send_all(STARTUP)
    assert b"BZ0402 upstream-timed-out" in await read_rest(app)
    app.close()
    await wait_all_tasks_blocked()
    assert trio.current_time() == 10
    assert web.bench.codes == ["BZ0402"]


@pytest.mark.parametrize("protocol", ["postgres", "smtp", "mysql"])
async def test_a_server_that_hangs_up(protocol: StartTls, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def hang_up(_: socket.socket) -> None:
        pass

    web, to = asking(nursery, protocol, speaking((), hang_up))
    app = web.dial(to)
    if protocol == "postgres":
        await app.send_all(STARTUP)
    assert b"BZ0213 start-tls-refused: the connection was closed" in await read_rest(app)
    app.close()
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0213"]


# -- the application does not


@pytest.mark.parametrize("protocol", ["postgres", "mysql"])
async def test_an_application_that_says_nothing(protocol: StartTls, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web, to = asking(nursery, protocol, speaking(TURNS[protocol], https(partner(DB), echo)))
    app = web.dial(to)
    await is_gone(app)
    app.close()
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0311"]
    assert web.bench.runtime.accounts._live == {}


async def test_mysql_that_asks_for_tls_all_the_same(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    rest: list[bytes] = []
    web, to = asking(nursery, "mysql", speaking(TURNS["mysql"][:1], listening(rest)))
    app = web.dial(to)
    await app.receive_some()
    await app.send_all(packet(1, b"\x00\x0a\0\0" + bytes(28)))
    assert b"BZ0213" in await read_rest(app)
    app.close()
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0213"]
    assert rest == [b""]


async def test_mysql_that_leaves_before_it_has_logged_in(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    rest: list[bytes] = []
    web, to = asking(nursery, "mysql", speaking(TURNS["mysql"][:1], listening(rest)))
    app = web.dial(to)
    await app.receive_some()
    app.close()
    await wait_all_tasks_blocked()
    assert web.bench.codes == ["BZ0311"]
    assert rest == [b""]
