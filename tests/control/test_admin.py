"""The private door: what it shows, and that no key is ever among it."""

import json

import pytest
import trio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from trio.testing import MockClock

from sidecar.control.admin import Admin
from sidecar.control.health import metrics_handler
from sidecar.control.keyring import Keyring
from sidecar.model.egress import ClientCertificate, EgressHost, GatewayCaller, Origination, Outbound
from sidecar.model.snapshot import Snapshot, Workload
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from sidecar.telemetry.metrics import Metrics
from tests.helpers import pki
from tests.helpers.mesh import read_rest, root, tls_of
from tests.helpers.pki import WEB
from tests.helpers.runtime import kept_pair

CLIENT = pki.issue(root("clients"), subject="shop", purposes=[pki.CLIENT])
MUTUAL = EgressHost("a.example", "a", tls=Origination(client_certificate=ClientCertificate("s", CLIENT.chain_pem, CLIENT.key_pem)))
SNAPSHOT = Snapshot(Workload(WEB, "shop"), outbound=Outbound(hosts=(
    MUTUAL,
    EgressHost("b.example", "b", tls=Origination(client_certificate=ClientCertificate("missing"))),
    EgressHost("c.example", "c"),
    EgressHost("d.example", "d", tls=None),
)), gateway=(GatewayCaller(WEB, (MUTUAL,)),))
PATHS = (
    "/snapshot", "/certificates", "/status", "/rotate", "/", "/keys", "/config", "/snapshot?keys=1", "/../status", "/%2e/snapshot",
)


class Door:
    def __init__(
        self, nursery: trio.Nursery, taken: Snapshot | None = SNAPSHOT, tls: MeshTls | None = None, *, can_rotate: bool = True
    ) -> None:
        self.rotated = 0
        self._nursery = nursery
        keyring = Keyring(Watched(None))
        if tls is not None:
            keyring.take_issued(tls.credentials, tls.anchors.trust)
        self.admin = Admin(
            lambda: (taken, "digest-1") if taken else None, keyring, lambda: ["no valid certificate"],
            *((self._rotate, lambda: {"dueAt": 5.0}) if can_rotate else (None, None)),
            metrics_handler(Metrics(), lambda: {"bartizan_ready": 0.0}),
        )

    def _rotate(self) -> None:
        self.rotated += 1

    async def ask(self, method: str, path: str) -> tuple[int, bytes]:
        ours, theirs = kept_pair(self._nursery)

        async def serve() -> None:
            with theirs:
                await self.admin.serve(theirs)

        self._nursery.start_soon(serve)
        stream = SocketStream(ours)
        await stream.send_all(f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        await stream.send_eof()
        head, _, body = (await read_rest(stream)).partition(b"\r\n\r\n")
        return int(head[9:12]), body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_key_is_in_any_answer(method: str, path: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    tls = tls_of(WEB)
    _, body = await Door(nursery, tls=tls).ask(method, path)
    assert b"PRIVATE" not in body
    own = tls.credentials.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for key in (own, CLIENT.key_pem.encode()):
        for line in key.splitlines()[1:3]:      # the last one holds of the public half only
            assert line not in body


async def test_the_snapshot_as_it_was_taken(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    status, body = await Door(nursery).ask("GET", "/snapshot")
    hosts = json.loads(body)["outbound"]["hosts"]
    assert status == 200
    assert hosts[0]["tls"]["clientCertificate"] == {"name": "s", "chain": CLIENT.chain_pem, "key": "(kept private)"}
    assert hosts[1]["tls"]["clientCertificate"] == {"name": "missing"}
    assert (await Door(nursery, None).ask("GET", "/snapshot"))[0] == 404


async def test_status_and_certificates(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    tls = tls_of(WEB)
    door = Door(nursery, tls=tls)
    leaf = tls.credentials.chain[0]
    assert json.loads((await door.ask("GET", "/status"))[1]) == {
        "snapshot": "digest-1", "identity": WEB, "notAfter": tls.credentials.not_after, "serial": f"{leaf.serial_number:032x}",
        "signer": root().certificate.fingerprint(hashes.SHA256()).hex(), "trust": {"version": 1, "signer": ""},
        "renewal": {"dueAt": 5.0}, "obstacles": ["no valid certificate"],
    }
    assert await door.ask("GET", "/certificates") == (200, leaf.public_bytes(Encoding.PEM))
    nothing = Door(nursery, None)
    status = json.loads((await nothing.ask("GET", "/status"))[1])
    assert {name for name, value in status.items() if value is not None} == {"renewal", "obstacles"}
    assert await nothing.ask("GET", "/certificates") == (200, b"")


async def test_rotate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    door = Door(nursery)
    assert (await door.ask("POST", "/rotate"))[0] == 202
    assert (await door.ask("GET", "/rotate"))[0] == 404
    assert door.rotated == 1
    assert (await Door(nursery, can_rotate=False).ask("POST", "/rotate"))[0] == 404     # certificates from files


async def test_metrics(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    status, body = await Door(nursery).ask("GET", "/metrics")
    assert status == 200
    assert b"\nbartizan_ready 0\n" in body
