"""An agent, an issuer that answers what a test wants, and the clocks of both."""

import json
import random
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from msgspec import to_builtins
from msgspec.structs import replace

from sidecar.control.agent import Agent
from sidecar.control.clock_watch import ClockWatch
from sidecar.control.keyring import Keyring
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import IssuedIdentity
from sidecar.model.errors import Unavailable
from sidecar.model.ledger import Entry
from sidecar.model.trust import Trust
from sidecar.net.tls_mesh import MeshTls
from tests.helpers import pki
from tests.helpers.endpoint import HOST, URL, endpoint
from tests.helpers.mesh import root
from tests.helpers.pki import WEB
from tests.helpers.runtime import Bench, FakeDialer, bench

ISSUER = Address(HOST, 8443)
HOUR_S, YEAR_S = 3600.0, 365.25 * 86400
SHORT_S = 300.0     # as short as the issuer's certificates may live
TRUST = pki.trust(root())


class PublicOnly:
    """What a request tells of a key."""

    def __init__(self, request: x509.CertificateSigningRequest) -> None:
        self._key = request.public_key()

    def public_key(self) -> object:
        return self._key


def issued(
    call: Call, identity: str = WEB, *, trust: Trust = TRUST, signer: str = "root", said: float | None = None, **more: object
) -> Answer:
    """The issuer's answer.

    Args:
        said: what its clock says; None: the truth.
    """
    request = x509.load_pem_x509_csr(json.loads(call.body)["csr"].encode())
    assert request.is_signature_valid
    holder = pki.issue(root(signer), pki.uri(identity), key=PublicOnly(request), **more)      # type: ignore[arg-type]
    ends = holder.certificate.not_valid_after_utc.timestamp()
    now = time.time() if said is None else said
    body = {"chain": [pki.pem([holder.certificate])], "trust": to_builtins(trust), "notAfter": ends, "now": now}
    return Answer(200, json.dumps(body).encode())


def fingerprint(name: str) -> str:
    return root(name).certificate.fingerprint(hashes.SHA256()).hex()


def signed_by(name: str, version: int) -> Trust:
    """Trust in the roots `root` and `new`, of which `name` signs."""
    return replace(pki.trust(root(), root("new"), version=version), signer=fingerprint(name))


class Fixture:
    """
    Args:
        keeps: whether the identity is kept in a file; a second fixture in the same folder is the restarted container.
    Attributes:
        real: by what date the issuer goes.
        wall: by what date the sidecar goes; `wrong_by` off.
    """

    def __init__(
        self, nursery: trio.Nursery, folder: Path, *, has_token: bool = True, keeps: bool = False, starts: bool = True,
        seed: int = 1,
    ) -> None:
        if has_token:
            (folder / "token").write_text("the-token\n")
        (folder / "roots").write_text(pki.pem([root().certificate]))
        self.bench: Bench = bench(nursery)
        self.dialer: FakeDialer = self.bench.dialer
        self.tls = self.bench.runtime.tls
        self.started = time.time()
        self.wrong_by = 0.0
        self.asked: list[tuple[float, Call]] = []
        self.kept = folder / "identity.json"
        self.keyring = Keyring(self.tls)
        config = IssuedIdentity(URL, str(folder / "token"), str(folder / "roots"), str(self.kept) if keeps else None)
        self.agent = Agent(config, self.keyring, self.dialer, self.wall, random.Random(seed))
        self.told: list[Entry] = []
        self.clock = ClockWatch(self.wall, trio.current_time, self.told.append, self.agent.clock_jumped)
        self.runs = trio.CancelScope()
        if starts:
            nursery.start_soon(self.run)

    async def run(self) -> None:
        with self.runs:
            await self.agent.run()

    def real(self) -> float:
        return self.started + trio.current_time()

    def wall(self) -> float:
        return self.real() + self.wrong_by

    def answer(self, handle: Callable[[Call], Answer | None], **how: object) -> None:
        def note(call: Call) -> Answer | None:
            self.asked.append((trio.current_time(), call))
            return handle(call)

        self.dialer.servers[ISSUER] = endpoint(note, **how)     # type: ignore[arg-type]

    def issue(self, life_s: float = HOUR_S, off_by: float = 0.0, **more: object) -> Callable[[Call], Answer]:
        """What an issuer does whose clock is right, or `off_by`."""
        def answer(call: Call) -> Answer:
            now = trio.current_time() + off_by + self.started - time.time()
            begins, ends = timedelta(seconds=now - 60), timedelta(seconds=now + life_s)
            return issued(call, said=self.real() + off_by, begins=begins, ends=ends, **more)     # type: ignore[arg-type]

        return answer

    def is_served(self) -> bool:
        """Whether what needs an identity works; else it fails closed."""
        self.bench.wall = self.wall()
        try:
            self.bench.runtime.own_tls()
        except Unavailable:
            return False
        return True

    async def wait_taken(self, seen: MeshTls | None = None) -> MeshTls:
        taken = await self.tls.wait_change(seen)
        assert taken is not None
        return taken

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.asked]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
