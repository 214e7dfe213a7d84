"""The Workload API as a client of gRPC finds it: h2 at the other end of a socket, frames of gRPC by hand."""

from collections.abc import Sequence
from contextlib import suppress

import h2.events
import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.control.issuance import NotEntitled
from sidecar.control.workload_api import FIRST_ANSWER_S, REQUEST_S, WorkloadApi
from sidecar.model.errors import ConnectFailed
from sidecar.model.trust import Revoked
from sidecar.net.socket_stream import SocketStream
from sidecar.protocol.protobuf import read_fields, read_message
from tests.helpers import pki
from tests.helpers.h2_peer import Peer
from tests.helpers.mesh import root
from tests.helpers.pki import DOMAIN, WEB
from tests.helpers.runtime import kept_pair

from .test_application_svid import Fixture

EMPTY = b"\0\0\0\0\0"
METADATA = (b"workload.spiffe.io", b"true")


def head(
    method: str, *more: tuple[bytes, bytes], kind: bytes = b"application/grpc", authority: bytes = b"localhost"
) -> list[tuple[bytes, bytes]]:
    return [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/SpiffeWorkloadAPI/" + method.encode()),
            (b":authority", authority), (b"te", b"trailers"), (b"content-type", kind), *more]


class Client(Peer):
    def __init__(self, nursery: trio.Nursery, fixture: Fixture) -> None:
        ours, theirs = kept_pair(nursery)
        super().__init__(SocketStream(ours), is_client=True)
        self.is_served = True

        async def serve() -> None:
            with theirs:
                await WorkloadApi(fixture.svid, fixture.tls).serve(theirs)
            self.is_served = False

        nursery.start_soon(serve)

    async def call(self, method: str = "FetchX509SVID", body: bytes = EMPTY, stream: int = 1) -> None:
        if stream == 1:
            await self.begin()
        await self.ask(stream, head(method, METADATA), body)

    async def message(self, count: int = 1, stream: int = 1) -> bytes:
        """The last of `count`, which are all; without its frame."""
        def messages() -> list[bytes]:
            body, found = self.body(stream), []
            while len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5]):
                size = 5 + int.from_bytes(body[1:5])
                found.append(body[:size])
                body = body[size:]
            return found if not body else []

        await self.until(lambda: len(messages()) >= count)
        (*_, last) = messages()
        assert len(messages()) == count
        read_message(last)
        return last[5:]

    async def status(self, stream: int = 1) -> tuple[int, str]:
        await self.first(h2.events.StreamEnded, stream)
        said = dict(self.of(h2.events.TrailersReceived, stream)[0].headers if self.of(h2.events.TrailersReceived, stream)
                    else self.of(h2.events.ResponseReceived, stream)[0].headers)
        return int(said[b"grpc-status"]), said[b"grpc-message"].decode()


def svid(message: bytes) -> dict[int, bytes]:
    """The one that an X509SVIDResponse holds; nothing else is in it."""
    ((number, value),) = read_fields(message)
    assert number == 1
    assert isinstance(value, bytes)
    found = {number: value for number, value in read_fields(value) if isinstance(value, bytes)}
    assert set(found) == {1, 2, 3, 4}
    return found


def der(certificates: Sequence[object]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)     # type: ignore[attr-defined]


# -- messages


async def test_the_svid_of_the_application_and_never_the_sidecars(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call()
    found = svid(await client.message())
    held, tls = await fixture.held(), fixture.tls.current
    assert tls is not None
    assert found[1].decode() == WEB
    assert found[2] == der(held.credentials.chain)
    assert load_der_private_key(found[3], None).public_key() == held.credentials.chain[0].public_key()
    assert found[4] == der([root().certificate])
    own = tls.credentials.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert own not in client.body(1)
    assert dict(client.of(h2.events.ResponseReceived)[0].headers) == {b":status": b"200", b"content-type": b"application/grpc"}


async def test_anew_at_each_rotation_and_each_change_of_trust(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call()
    first = svid(await client.message())
    fixture.tls.set(pki.mesh_tls(pki.issue(root(), pki.uri(WEB)), root()))
    second = svid(await client.message(2))
    assert second[3] != first[3]
    tls = fixture.tls.current
    assert tls is not None
    fixture.tls.set(type(tls).of(tls.credentials, pki.anchors(root(), root("next"), version=2)))
    third = svid(await client.message(3))
    assert third == second | {4: der([root().certificate, root("next").certificate])}
    fixture.trust(Revoked(pods=("another",)))     # of no concern to the application but for the roots, which shrink
    assert svid(await client.message(4)) == second


async def test_what_changes_nothing_for_it_is_no_message(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call()
    await client.message()
    fixture.trust(Revoked(pods=("another",)))
    await wait_all_tasks_blocked()
    await client.call(stream=3)
    await client.message(stream=3)
    await client.message(1)


async def test_bundles_cost_no_certificate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call("FetchX509Bundles")
    ((number, entry),) = read_fields(await client.message())
    assert isinstance(entry, bytes)
    assert (number, list(read_fields(entry))) == (2, [(1, f"spiffe://{DOMAIN}".encode()), (2, der([root().certificate]))])
    tls = fixture.tls.current
    assert tls is not None
    fixture.tls.set(type(tls).of(tls.credentials, pki.anchors(root(), root("next"), version=2)))
    ((_, entry),) = read_fields(await client.message(2))
    assert isinstance(entry, bytes)
    assert dict(read_fields(entry))[2] == der([root().certificate, root("next").certificate])
    assert fixture.asked == []


async def test_the_authority_is_the_socket_itself_to_some(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client = Client(nursery, Fixture(nursery))
    await client.begin()
    await client.ask(1, head("FetchX509SVID", METADATA, authority=b"run%2Fbartizan%2Fworkload%2Fapi.sock"), EMPTY)
    await client.message()


async def test_a_client_that_leaves_is_counted_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call()
    await client.message()
    assert fixture.svid._wishes.current == 1
    client.h2.reset_stream(1)
    await client.flush()
    await wait_all_tasks_blocked()
    assert fixture.svid._wishes.current == 0
    await client.call(stream=3)
    await client.message(stream=3)
    await client.stream.aclose()
    await wait_all_tasks_blocked()
    assert (fixture.svid._wishes.current, client.is_served) == (0, False)


# -- statuses


@pytest.mark.parametrize("metadata", [
    [], [(b"workload.spiffe.io", b"True")], [(b"workload.spiffe.io", b"")], [METADATA, METADATA], [(b"workload-spiffe-io", b"true")],
])
@pytest.mark.parametrize("method", ["FetchX509SVID", "FetchX509Bundles", "FetchJWTSVID", "Nothing"])
async def test_without_the_metadata_nothing(
    metadata: list[tuple[bytes, bytes]], method: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.begin()
    await client.ask(1, head(method, *metadata), EMPTY)
    assert (await client.status())[0] == 3
    assert client.body(1) == b""
    assert fixture.asked == []


@pytest.mark.parametrize("method", [
    "FetchJWTSVID", "FetchJWTBundles", "ValidateJWTSVID", "", "fetchx509svid", "FetchX509SVID/", "FetchX509SVID?x",
])
async def test_other_methods(method: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call(method)
    assert (await client.status())[0] == 12
    assert fixture.asked == []


@pytest.mark.parametrize("body", [
    b"", EMPTY * 2, b"\1\0\0\0\0", b"\0\0\0\0\1\0", b"\0\0\0\0\2\0",
    b"\0\0\0\x13\x8b\x7a\x88\x27" + b"x" * 5000,     # well formed, and too long
])
async def test_what_is_no_request(body: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call(body=body)
    assert (await client.status())[0] == 13
    assert fixture.asked == []


async def test_a_request_that_does_not_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.begin()
    await client.ask(1, head("FetchX509SVID", METADATA), EMPTY, is_end=False)
    assert await client.status() == (13, "no whole request within 10 s")
    assert trio.current_time() == REQUEST_S


async def test_fields_of_a_later_version_are_passed_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call(body=b"\0\0\0\0\3\x7a\1x")
    await client.message()


@pytest.mark.parametrize("fields", [
    head("FetchX509SVID", METADATA, kind=b"application/json"), head("FetchX509SVID", METADATA, kind=b"text/plain"),
    [(b":method", b"GET"), *head("FetchX509SVID", METADATA)[1:]],
])
async def test_what_is_no_grpc(fields: list[tuple[bytes, bytes]], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.begin()
    await client.ask(1, fields, EMPTY)
    await client.first(h2.events.StreamEnded)
    assert client.of(h2.events.ResponseReceived)[0].headers[0] == (b":status", b"415")
    assert fixture.asked == []


async def test_not_entitled_and_not_available(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    fixture.failure = NotEntitled("the issuer answered 403: 100 % übel")
    client = Client(nursery, fixture)
    await client.call()
    assert await client.status() == (7, "the issuer answered 403: 100 %25 %C3%BCbel")
    await trio.sleep(1000)      # forgotten
    fixture.failure = ConnectFailed("nobody there")
    other = Client(nursery, fixture)
    await other.call()
    assert await other.status() == (14, "nobody there")


async def test_revoked_while_it_listens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call()
    await client.message()
    fixture.trust(Revoked(identities=(WEB,)))
    assert await client.status() == (7, "the identity spiffe://example.org/ns/shop/sa/web was revoked")


@pytest.mark.parametrize("method", ["FetchX509SVID", "FetchX509Bundles"])
async def test_who_comes_early_is_kept_waiting_and_then_told(method: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery, has_tls=False)
    client = Client(nursery, fixture)
    await client.call(method)
    assert await client.status() == (14, "this pod has no identity yet")
    assert trio.current_time() == FIRST_ANSWER_S


async def test_a_stream_may_last(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    await client.call()
    await client.message()
    await trio.sleep(1000)
    fixture.tls.set(pki.mesh_tls(pki.issue(root(), pki.uri(WEB)), root()))
    await client.message(2)


# -- others


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", b"\0" * 100, b""])
async def test_who_speaks_something_else(said: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    fixture = Fixture(nursery)
    client = Client(nursery, fixture)
    with suppress(trio.BrokenResourceError):
        await client.stream.send_all(said)
        await client.stream.send_eof()
        while await client.stream.receive_some():
            pass
    await wait_all_tasks_blocked()
    assert not client.is_served
