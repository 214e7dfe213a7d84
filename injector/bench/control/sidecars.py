"""Sidecars without applications: as many as there are pods, each with its own certificate and its own standing question for a snapshot.

The question is asked by the sidecar's own code. Of each snapshot rules are made as a sidecar does it, which takes 2 ms, by one in TENTH
alone: the others have a core of their own in a cluster, and here they would wait for each other longer than for the control plane. They
come COMING at a time, since so many handshakes at once would wait for this one core longer than a handshake may take.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs.ca import DAY_S, Authority
from certs.profile import issue_svid
from injector.bench.layout import TRUST_DOMAIN
from sidecar.control.keyring import Keyring
from sidecar.control.snapshot_stream import run_snapshot_stream
from sidecar.model.config import SnapshotStream
from sidecar.model.identity import workload_id
from sidecar.model.snapshot import digest, parse_snapshot
from sidecar.model.trust import Trust
from sidecar.net.anchors import Anchors
from sidecar.net.dial import Dialer
from sidecar.net.tls_context import Credentials
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules

PATIENCE_S = 120.0
TENTH = 10
COMING = 100
Pod = tuple[str, str]   # namespace, name


@dataclass
class Awaited:
    """A change on its way.

    Args:
        marker: that is in a snapshot's text as soon as that holds it.
        left: pods whose sidecars have not taken it.
        taken_at: when each of the others did.
    """

    marker: bytes
    left: set[Pod]
    taken_at: list[float] = field(default_factory=list)
    is_done: trio.Event = field(default_factory=trio.Event)


class Sidecars:
    """
    Args:
        authority: that issues their certificates.
        uids: of their pods.
        account_of, wanted_of: each pod's service account, and the Services of other namespaces that it asks for.
    """

    def __init__(
        self, url: str, authority: Authority, roots: str, uids: Mapping[Pod, str], account_of: Callable[[Pod], str],
        wanted_of: Callable[[Pod], tuple[str, ...]],
    ) -> None:
        self._config = SnapshotStream(url)
        self._uids = uids
        self._wanted_of = wanted_of
        self._dialer = Dialer()
        self._awaited: Awaited | None = None
        self._coming = trio.Semaphore(COMING)
        self._has_come: set[Pod] = set()
        self._number = {pod: number for number, pod in enumerate(uids)}
        trust = Trust(0, roots)
        anchors = Anchors.of(trust)
        shared: MeshTls | None = None
        self._rings: dict[Pod, Keyring] = {}
        for pod, uid in uids.items():
            credentials = _credentials(authority, pod, account_of(pod), uid)
            # The contexts for other sidecars are nobody's here, and would take long to make.
            shared = shared or MeshTls.of(credentials, anchors)
            self._rings[pod] = Keyring(Watched(MeshTls(credentials, anchors, shared.server, shared.clients)))
            self._rings[pod].version = trust.version

    async def run(self) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            for pod, uid in self._uids.items():
                await self._coming.acquire()
                nursery.start_soon(run_snapshot_stream, self._config, uid, self._rings[pod], self._dialer, partial(self._take, pod),
                                   _not_asked, Watched(self._wanted_of(pod)))

    def expect(self, pods: Collection[Pod], marker: str) -> Awaited:
        """What is looked for from now on, in snapshots of these pods."""
        self._awaited = Awaited(marker.encode(), set(pods))
        return self._awaited

    async def wait(self, awaited: Awaited) -> Sequence[float]:
        """The times at which each has taken it, by the clock of `time.monotonic`."""
        with trio.fail_after(PATIENCE_S):
            await awaited.is_done.wait()
        return awaited.taken_at

    def _take(self, pod: Pod, text: bytes) -> None:
        if pod not in self._has_come:
            self._has_come.add(pod)
            self._coming.release()
        if self._number[pod] % TENTH == 0:
            Rules.of(parse_snapshot(text), digest(text))
        awaited = self._awaited
        if awaited is not None and pod in awaited.left and awaited.marker in text:
            awaited.taken_at.append(time.monotonic())
            awaited.left.discard(pod)
            if not awaited.left:
                awaited.is_done.set()


def _not_asked(question: bytes) -> None:
    raise AssertionError("no operator is here to ask a sidecar")


def _credentials(authority: Authority, pod: Pod, account: str, uid: str) -> Credentials:
    key, now = ec.generate_private_key(ec.SECP256R1()), math.floor(time.time())
    identity = workload_id(TRUST_DOMAIN, pod[0], account)
    leaf: x509.Certificate = issue_svid(authority, key.public_key(), identity, uid, DAY_S, now)
    return Credentials(identity, TRUST_DOMAIN, (leaf, *authority.chain), key, leaf.not_valid_after_utc.timestamp())
