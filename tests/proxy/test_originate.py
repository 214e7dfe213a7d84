"""TLS contexts by their settings, waivers as they are told, sessions as the pool needs them. Requests: tests/proxy/test_egress.py."""

import socket
from pathlib import Path

import trio
from msgspec.structs import replace
from OpenSSL import SSL
from OpenSSL._util import lib
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.egress import ClientCertificate, EgressHost, Origination, Outbound, Waiver
from sidecar.model.errors import NotVerified
from sidecar.model.trust import serial_text
from sidecar.net.tls_stream import TlsStream
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.proxy.originate import Originator
from tests.helpers import pki
from tests.helpers.exchange import OK
from tests.helpers.leave import FakeResolver, https, partner
from tests.helpers.mesh import http_app, read_until, root
from tests.helpers.runtime import rules
from tests.proxy.test_egress import DIALLED, HOST, SERVER, approved, ask, outside


def naming(*settings: Origination) -> Rules:
    return rules(outbound=Outbound(hosts=tuple(EgressHost(f"h{i}.example", "r", tls=one) for i, one in enumerate(settings))))


async def test_a_context_lasts_as_long_as_its_settings_are_named() -> None:
    one, other = Origination(), Origination(min_version="1.3")
    current: Watched[Rules | None] = Watched(naming(one, other))
    originator = Originator(current, FakeResolver())
    first = originator.context(one, is_http2=False)
    assert originator.context(replace(one, port=443), is_http2=False) is first, "equal settings"
    assert originator.context(one, is_http2=True) is not first
    current.set(naming(one))
    assert originator.context(one, is_http2=False) is first, "a snapshot that changes something else keeps it, and its connections"
    current.set(naming(other))
    current.set(naming(one))
    originator.context(other, is_http2=False)
    current.set(naming(other))
    assert originator.context(one, is_http2=False) is not first, "it was named no longer in between"


# -- client certificates


ONE, OTHER = (pki.issue(root("clients"), subject=name, purposes=[pki.CLIENT]) for name in ("one", "other"))


async def test_a_client_certificate_in_files(tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    shown: list[TlsStream] = []
    chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    web = outside(nursery, approved(client_certificate=ClientCertificate("own", chain_file=str(chain), key_file=str(key))))
    web.bench.dialer.servers[SERVER] = https(partner(HOST), http_app([], OK), client_root=root("clients"), seen=shown)
    app = web.dial(DIALLED)
    refused = await ask(app)
    assert b" 503 " in refused
    assert b"BZ0203" in refused
    assert f"cannot read {chain}: No such file or directory".encode() in refused
    assert web.bench.dialer.dialled == []
    for number, holder in enumerate((ONE, OTHER)):
        chain.write_text(holder.chain_pem)
        key.write_text(holder.key_pem)
        web.originator.files.look()
        for _ in range(2):
            assert await ask(app) == OK
        assert len(shown) == number + 1, "kept while the files are the same; what was made with the old one is not used any more"
        assert shown[-1].connection.get_peer_certificate(as_cryptography=True) == holder.certificate


# -- waivers


EXPIRED = pki.issue(root("public"), pki.host(HOST), begins=-2 * pki.HOUR, ends=-pki.HOUR)


async def test_each_connection_that_needs_a_waiver_is_written_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery, holder=EXPIRED)
    bench, until = web.bench, web.bench.wall + 600
    bench.runtime.rules.set(approved(waivers=(Waiver("expiry", until), Waiver("name", until)), subject_alt_names=(HOST,)))
    app = web.dial(DIALLED)
    for _ in range(2):
        assert await ask(app) == OK
    await wait_all_tasks_blocked()
    assert [line.get("waived") for line in bench.lines] == ["expiry", None], "it is the connection that needed it"
    bench.runtime.withdrawals.part()
    assert await ask(app) == OK
    # When the waiver ends, the connection does, and so does every one that is made after it.
    bench.wall = until
    bench.runtime.withdrawals.part()
    answer = await ask(app)
    assert b"BZ0206" in answer
    assert b"certificate has expired" in answer
    assert b"the waiver of expiry ended on 20" in answer
    await wait_all_tasks_blocked()
    assert "the waiver of expiry ended" in bench.lines[-1]["detail"]
    bench.runtime.accounts.tell_open()
    bench.runtime.pool.close()
    entry, = [one for one in bench.ledger.entries if one.kind == "connection" and not one.is_open]
    assert (entry.host, entry.requests, entry.detail) == (HOST, 3, "waived: expiry")
    assert bench.runtime.metrics.get("bartizan_egress_waived_total", (("check", "expiry"), ("rule", "partners/api"))) == 1


async def test_what_needed_no_waiver_is_not_called_waived(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    web = outside(nursery)
    web.bench.runtime.rules.set(approved(waivers=(Waiver("expiry", web.bench.wall + 600),)))
    assert await ask(web.dial(DIALLED)) == OK
    web.bench.wall += 600
    web.bench.runtime.withdrawals.part()
    assert await ask(web.dial(DIALLED)) == OK
    await wait_all_tasks_blocked()
    assert all("waived" not in line for line in web.bench.lines)
    assert len(web.bench.dialer.dialled) == 1


# -- sessions


async def test_a_new_connection_resumes_what_a_closed_one_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each closes after its answer. The server's context here keeps sessions as web servers do."""
    reused: list[bool] = []
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    holder = partner(HOST)
    context.use_certificate(holder.certificate)
    context.use_privatekey(holder.key)
    last = OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")

    async def serve(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        await stream.handshake(NotVerified)
        await read_until(stream, b"\r\n\r\n")
        reused.append(bool(lib.SSL_session_reused(stream.connection._ssl)))
        await stream.send_all(last)
        stream.close()

    web = outside(nursery)
    web.bench.dialer.servers[SERVER] = serve
    app = web.dial(DIALLED)
    for _ in range(2):
        assert (await ask(app)).startswith(b"HTTP/1.1 200")
    other = approved(min_version="1.3")
    for known in (other, approved(), approved()):
        web.bench.runtime.rules.set(known)
        assert (await ask(app)).startswith(b"HTTP/1.1 200")
    assert reused == [False, True, False, False, True], "never across settings, and forgotten with them"
    entries = [one for one in web.bench.ledger.entries if one.kind == "connection"]
    assert len({one.id for one in entries}) == 5
    assert {one.peer_serial for one in entries} == {serial_text(holder.certificate.serial_number)}
