"""Sessions that are resumed, and waivers in the handshake: against servers of Python's own `ssl`, which say whether they resumed."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import structs
from OpenSSL import SSL

from sidecar.model.egress import Origination, Waiver
from sidecar.model.errors import ConfigError, NotVerified
from sidecar.net.tls_external import MOST_HOSTS, SESSIONS_PER_HOST, ExternalTls, Party, Proof
from sidecar.net.tls_stream import TlsStream
from sidecar.net.verify_host import key_pin
from tests.helpers import pki
from tests.helpers.sockets import tcp_pair
from tests.helpers.tls import shake_hands

HOST = "api.example.com"
PARTY = Party(HOST, 443)
ROOT, STRANGER = pki.authority("root"), pki.authority("stranger")
CLIENTS = pki.authority("clients")
CLIENT = pki.issue(CLIENTS, subject="shop", purposes=[pki.CLIENT])
GOOD = pki.issue(pki.authority("intermediate", ROOT), pki.host(HOST))
NOW = datetime.now(UTC).timestamp()


class Website:
    """
    Attributes:
        reused: of each connection that was asked something, whether it resumed a session.
    """

    def __init__(self, folder: Path, holder: pki.Holder = GOOD, **changed: object) -> None:
        self.reused: list[bool | None] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (folder / "chain.pem").write_text(holder.chain_pem)
        (folder / "key.pem").write_text(holder.key_pem)
        self._context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
        self._context.load_verify_locations(cadata=pki.pem([CLIENTS.certificate]))
        for name, value in changed.items():
            setattr(self._context, name, value)

    async def visit(
        self, tls: ExternalTls, party: Party = PARTY, now: float = NOW, ends: Callable[[TlsStream], None] = TlsStream.close
    ) -> Proof:
        """One exchange with it, then the connection is closed."""
        ours, theirs = tcp_pair()
        theirs.setblocking(True)

        def answer() -> None:
            try:
                with self._context.wrap_socket(theirs, server_side=True) as server:
                    if server.recv(100):
                        self.reused.append(server.session_reused)
                        server.sendall(b"pong")
                        server.unwrap()
            except OSError:
                pass    # refused, which the client has words for

        found: Proof | NotVerified
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, answer)
            stream = tls.stream(ours, party, now)
            try:
                await stream.handshake(NotVerified)
                found = tls.verify(stream, now)
                tls.keep_session(stream, found)
                await stream.send_all(b"ping")
                assert await stream.receive_some() == b"pong"
            except NotVerified as exc:
                found = exc
            ends(stream)
        if isinstance(found, NotVerified):
            raise found
        return found


def external(**changed: object) -> ExternalTls:
    return ExternalTls(Origination(**({"roots": pki.pem([ROOT.certificate])} | changed)), None, None)  # type: ignore[arg-type]


def of_version_6() -> str:
    """Signed by the root; OpenSSL does not mind the version."""
    leaf = pki.issue(ROOT, pki.host(HOST), key=GOOD.key).certificate
    signed = leaf.tbs_certificate_bytes.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")       # ecdsa-with-SHA256
    signature = ROOT.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    whole = signed + algorithm + b"\x03" + bytes([len(signature) + 1, 0]) + signature
    return ssl.DER_cert_to_PEM_cert(b"\x30\x82" + len(whole).to_bytes(2, "big") + whole)


async def test_a_certificate_that_only_openssl_can_read_is_refused(tmp_path: Path) -> None:
    server = SSL.Context(SSL.TLS_SERVER_METHOD)
    (tmp_path / "leaf.pem").write_text(of_version_6())
    server.use_certificate_file(tmp_path / "leaf.pem")
    server.use_privatekey(GOOD.key)
    ours, theirs = tcp_pair()
    tls, other = external(), TlsStream(server, theirs, is_server=True)
    stream = tls.stream(ours, PARTY, NOW)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.handshake, NotVerified)
        await stream.handshake(NotVerified)
    with pytest.raises(NotVerified, match="unusable"):
        tls.verify(stream, NOW)
    stream.close()
    other.close()


# -- resumption


@pytest.mark.parametrize("changed", [
    {}, {"maximum_version": ssl.TLSVersion.TLSv1_2}, {"maximum_version": ssl.TLSVersion.TLSv1_2, "options": ssl.OP_NO_TICKET},
    {"verify_mode": ssl.CERT_REQUIRED},
], ids=["1.3", "1.2-ticket", "1.2-id", "mutual"])
async def test_sessions_are_resumed(tmp_path: Path, changed: dict[str, object]) -> None:
    website = Website(tmp_path, **changed)
    tls = ExternalTls(Origination(roots=pki.pem([ROOT.certificate])), CLIENT.chain_pem, CLIENT.key_pem)
    first, *others = [await website.visit(tls) for _ in range(3)]
    assert website.reused == [False, True, True]
    assert others == [first, first], "a resumed session rests on the chain of the first, and says so"
    assert first.chain == (*GOOD.chain, ROOT.certificate)


async def test_a_ticket_of_tls_1_2_is_taken_from_who_keeps_nothing() -> None:
    """As nginx has it without a cache."""
    server = SSL.Context(SSL.TLS_SERVER_METHOD)
    server.set_max_proto_version(SSL.TLS1_2_VERSION)
    server.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    server.use_certificate(GOOD.certificate)
    server.add_extra_chain_cert(GOOD.intermediates[0])
    server.use_privatekey(GOOD.key)
    tls, chains = external(), []
    for _ in range(2):
        ours, sock = tcp_pair()
        stream, theirs = tls.stream(ours, PARTY, NOW), TlsStream(server, sock, is_server=True)
        assert await shake_hands(stream, theirs) == (None, None)
        chains.append(stream.connection.get_verified_chain())
        tls.keep_session(stream, tls.verify(stream, NOW))
        stream.close()
        theirs.close()
    assert [chain is None for chain in chains] == [False, True]


async def test_who_refuses_to_resume_is_verified_anew(tmp_path: Path) -> None:
    class Forgetful(Website):
        async def visit(self, *args: object, **more: object) -> Proof:
            """With new ticket keys each time: what was offered is nothing to it."""
            (tmp_path / str(len(self.reused))).mkdir()
            self._context = Website(tmp_path / str(len(self.reused)))._context
            return await super().visit(*args, **more)  # type: ignore[arg-type]

    website, tls = Forgetful(tmp_path), external()
    assert len({(await website.visit(tls)).chain for _ in range(3)}) == 1
    assert website.reused == [False, False, False]
    other = Website(tmp_path, pki.issue(ROOT, pki.host("other.example")))
    with pytest.raises(NotVerified, match="not for api"):
        await other.visit(tls)      # with a session of the true host's


async def test_a_session_is_offered_once_to_its_own_party_and_under_its_own_settings(tmp_path: Path) -> None:
    holder = pki.issue(ROOT, pki.host(HOST), pki.host("b.example.com"))
    website, tls = Website(tmp_path, holder), external()
    await website.visit(tls)
    for other in (Party("b.example.com", 443), Party(HOST, 8443), Party(HOST, 443, pki.WEB)):
        await website.visit(tls, other)
    await website.visit(external())
    assert website.reused == [False] * 5
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(website.visit, tls)
    assert sorted(map(bool, website.reused[5:])) == [False, True]


async def test_what_is_judged_again_of_a_resumed_session(tmp_path: Path) -> None:
    """The table could only mix up hosts by a mistake of ours; it would be no way in."""
    website, tls = Website(tmp_path), external()
    await website.visit(tls)
    evil = Party("evil.example", 443)
    tls._sessions[evil] = tls._sessions.pop(PARTY)
    with pytest.raises(NotVerified, match=r"not for evil\.example"):
        await website.visit(tls, evil)
    await website.visit(tls)
    tls._settings = Origination(key_pins=("sha256/" + "A" * 43 + "=",))
    with pytest.raises(NotVerified, match="is pinned"):
        await website.visit(tls)
    assert len(website.reused) == 2, "neither was sent a byte"


async def test_a_resumed_session_whose_chain_nobody_knows(tmp_path: Path) -> None:
    website, tls = Website(tmp_path), external()
    await website.visit(tls)
    ours, theirs = tcp_pair()
    stream = tls.stream(ours, PARTY, NOW)
    stream.connection.get_app_data().offered = None
    with theirs, pytest.raises(NotVerified, match="no certificate"):
        tls.verify(stream, NOW)
    stream.close()


async def test_no_session_outlives_its_chain(tmp_path: Path) -> None:
    website, tls = Website(tmp_path), external()
    ends = (await website.visit(tls)).until
    assert ends == GOOD.certificate.not_valid_after_utc.timestamp()
    for _ in range(2):
        await website.visit(tls, now=ends)      # by our clock; OpenSSL's is an hour behind
    assert website.reused == [False, False, False]


async def test_the_tables_stay_small(tmp_path: Path) -> None:
    website, tls = Website(tmp_path), external()
    for _ in range(SESSIONS_PER_HOST + 2):
        await website.visit(tls, now=NOW)
        (kept,) = tls._sessions.values()
        tls._sessions[PARTY] = [*kept, kept[0]]
    assert len(kept) == SESSIONS_PER_HOST
    tls._sessions |= {Party(f"{number}.example", 443): kept for number in range(MOST_HOSTS - 1)}
    await website.visit(tls, Party(HOST, 8443))
    assert len(tls._sessions) == MOST_HOSTS
    assert PARTY not in tls._sessions, "the one that was used longest ago"


async def test_a_connection_that_broke_leaves_nothing_to_resume(tmp_path: Path) -> None:
    website, tls = Website(tmp_path), external()
    await website.visit(tls, ends=TlsStream.abort)
    await website.visit(tls)
    assert website.reused == [False, False]


# -- waivers


EXPIRED = pki.issue(ROOT, pki.host(HOST), begins=-2 * pki.HOUR, ends=-pki.HOUR)
STRANGE = pki.issue(STRANGER, pki.host(HOST))
SELF_SIGNED = pki.issue(None, pki.host(HOST), subject="self")
STALE_AUTHORITY = pki.issue(ROOT, subject="stale", is_ca=True, begins=-2 * pki.HOUR, ends=-pki.HOUR)


def waivers(*checks: str, until: float = NOW + 60) -> tuple[Waiver, ...]:
    return tuple(Waiver(check, until) for check in checks)  # type: ignore[arg-type]


@pytest.mark.parametrize(("holder", "waived", "needed"), [
    (EXPIRED, ("expiry",), {"expiry"}),
    (EXPIRED, ("expiry", "chain"), {"expiry"}),
    (STRANGE, ("chain",), {"chain"}),
    (SELF_SIGNED, ("chain",), {"chain"}),
    (pki.issue(STRANGER, pki.host(HOST), begins=-2 * pki.HOUR, ends=-pki.HOUR), ("expiry", "chain"), {"expiry", "chain"}),
    (replace(STRANGE, intermediates=(STRANGER.certificate,)), ("chain",), {"chain"}),
    (pki.issue(pki.authority("theirs", STRANGER), pki.host(HOST)), ("chain",), {"chain"}),
    (pki.issue(ROOT, pki.host("www.example.com")), ("name",), {"name"}),
], ids=["expiry", "expiry-of-two", "stranger", "self-signed", "both", "foreign-root-sent", "foreign-intermediate", "name"])
async def test_what_is_waived_is_let_pass_and_told(tmp_path: Path, holder: pki.Holder, waived: tuple[str, ...], needed: set[str]) -> None:
    website = Website(tmp_path, holder)
    pins = {"key_pins": (key_pin(holder.certificate),), "subject_alt_names": (HOST, "www.example.com")}
    tls = external(waivers=waivers(*waived), **pins)
    for _ in range(2):
        proof = await website.visit(tls)
        assert proof.waived == needed
        assert proof.until == NOW + 60
    assert website.reused == [False, True], "and resumed, it is told again"
    for other, words in ((tls, "ended on"), (external(**pins), "certificate")):
        with pytest.raises(NotVerified, match=words):
            await website.visit(other, now=NOW + 60)    # no session leads past the end
    assert len(website.reused) == 2, "sent nothing"


async def test_a_waiver_that_is_not_needed_changes_nothing(tmp_path: Path) -> None:
    tls = external(waivers=waivers("expiry", "chain", "name", until=NOW), key_pins=(key_pin(ROOT.certificate),), subject_alt_names=(HOST,))
    proof = await Website(tmp_path).visit(tls)
    assert proof == structs.replace(proof, waived=frozenset(), until=GOOD.certificate.not_valid_after_utc.timestamp())


@pytest.mark.parametrize("holder", [
    STRANGE, SELF_SIGNED, pki.issue(ROOT, pki.host(HOST), begins=pki.HOUR / 2), pki.issue(ROOT, pki.host(HOST), purposes=[pki.CLIENT]),
    pki.issue(STALE_AUTHORITY, pki.host(HOST)), pki.issue(ROOT, pki.host("www.example.com")),
], ids=["stranger", "self-signed", "not-yet", "purpose", "authority-expired", "name"])
async def test_a_waiver_of_expiry_waives_the_end_of_the_hosts_own_certificate_alone(tmp_path: Path, holder: pki.Holder) -> None:
    website = Website(tmp_path, holder)
    with pytest.raises(NotVerified):
        await website.visit(external(waivers=waivers("expiry")))
    assert website.reused == []


@pytest.mark.parametrize("holder", [
    EXPIRED, pki.issue(ROOT, pki.host(HOST), purposes=[pki.CLIENT]), pki.issue(STRANGER, pki.host(HOST), begins=pki.HOUR / 2),
    pki.issue(STRANGER, pki.host("www.example.com")), pki.issue(pki.issue(ROOT, subject="no CA", signs=True), pki.host(HOST)), STRANGE,
], ids=["expired", "purpose", "not-yet", "name", "no-authority", "not-pinned"])
async def test_a_waiver_of_the_chain_waives_its_root_alone(tmp_path: Path, holder: pki.Holder) -> None:
    website = Website(tmp_path, holder)
    pinned = key_pin(GOOD.certificate if holder is STRANGE else holder.certificate)
    with pytest.raises(NotVerified):
        await website.visit(external(waivers=waivers("chain"), key_pins=(pinned,)))
    assert website.reused == []


@pytest.mark.parametrize(("holder", "check", "words"), [
    (EXPIRED, "expiry", r"certificate has expired\); the waiver of expiry ended on 20"),
    (STRANGE, "chain", r"nobody among the roots has issued it\); the waiver of chain ended on 20"),
])
async def test_a_waiver_that_has_ended_is_named(tmp_path: Path, holder: pki.Holder, check: str, words: str) -> None:
    website = Website(tmp_path, holder)
    with pytest.raises(NotVerified, match=words):
        await website.visit(external(waivers=waivers(check, until=NOW), key_pins=(key_pin(holder.certificate),)))
    assert website.reused == []


async def test_a_pinned_key_above_a_waived_chain_proves_nothing(tmp_path: Path) -> None:
    """Whoever made up a leaf puts the authority's certificate behind it."""
    made_up = replace(STRANGE, intermediates=(STRANGER.certificate,))
    with pytest.raises(NotVerified, match="is pinned"):
        await Website(tmp_path, made_up).visit(external(waivers=waivers("chain"), key_pins=(key_pin(STRANGER.certificate),)))


def test_material_that_is_unusable_makes_none() -> None:
    with pytest.raises(ConfigError):
        external(roots="")
    with pytest.raises(ConfigError):
        ExternalTls(Origination(), CLIENT.chain_pem, GOOD.key_pem)
