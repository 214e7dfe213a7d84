"""What the issuer publishes: roots, the root that is signed with, the deny-list, and a version that counts up.

It is made of what stands in the directory and of nothing else, by whoever changes something there and by the issuer whenever it
notices; the same content never gets a second version. What was published last is kept, so that a restart, or a clock that is set
back, does not bring a lower version, which nobody would take.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio
from msgspec.structs import replace

from sidecar.model.errors import ConfigError
from sidecar.model.trust import DenyList, Trust, check_trust
from sidecar.model.value import from_json
from sidecar.net.clock import WallClock
from sidecar.net.watched import Watched

from . import files, revocation, rotation
from .ca import Authority, fingerprint
from .request import key_hash
from .rotation import Rotation

PUBLISHED = "trust.json"
LOOK_EVERY_S = 0.25

_FOLLOWED = (
    files.ROOTS, files.SVID, files.HTTPS, rotation.PREVIOUS.format(files.HTTPS), rotation.ROTATION, revocation.REVOKED, PUBLISHED,
)


@dataclass(frozen=True, eq=False)
class Standing:
    """All that an issuer goes by, as of one moment.

    Args:
        own_https: what the issuer's own certificate is signed with.
        rotation: the one that is under way.
        ends: Unix seconds, when something falls off the deny-list; infinite: never.
        own_keys: `key_hash` of every authority's key, which nobody else can have come by honestly.
    """

    authorities: files.Authorities
    own_https: Authority
    trust: Trust
    deny: DenyList
    rotation: Rotation | None
    ends: float
    own_keys: frozenset[str]


def next_version(directory: Path, now: float) -> int:
    """The lowest that the next trust may have."""
    return max(last_published(directory).version + 1, int(now * 1000))


def publish(directory: Path, now: float) -> Standing:
    """Bring the directory to rest and write down what is trusted now, under a new version if that changed.

    Called under `files.locked`. ConfigError names the file that stands in the way; what was published before stays in force.
    """
    rotation.settle(directory, now)
    authorities, turning, entries = files.load(directory), rotation.read(directory), revocation.read(directory)
    last = last_published(directory)
    trust = Trust(
        last.version, files.pem_of(*authorities.roots).decode(), signer_of(authorities), revocation.published(entries, now))
    if trust != last:
        least = turning.needs if turning is not None else 0
        trust = replace(trust, version=max(next_version(directory, now), least))
        check_trust(revocation.REVOKED, trust)
        files.write(directory / PUBLISHED, msgspec.json.encode(trust), replace=True)
    ends = min((entry.until for entry in entries if entry.until > now), default=float("inf"))
    own = rotation.own_https(directory, authorities)
    intermediates = (*authorities.svid.chain, *authorities.https.chain, *own.chain)
    own_keys = frozenset(key_hash(one.public_key()) for one in (*authorities.roots, *intermediates))
    return Standing(authorities, own, trust, DenyList.of(trust.revoked), turning, ends, own_keys)


def signer_of(authorities: files.Authorities) -> str:
    """Fingerprint of the root that SVIDs chain to."""
    return next(fingerprint(root) for root in authorities.roots if files.is_issued_by(authorities.svid.chain[-1], root))


class Follower:
    """Keeps `standing` what the directory says.

    Args:
        standing: of the beginning.
    """

    def __init__(self, directory: Path, clock: WallClock) -> None:
        """ConfigError if there is nothing to begin with."""
        self._directory = directory
        self._clock = clock
        with files.locked(directory):
            self.standing = Watched(publish(directory, clock()))
            self._seen = _state(directory)

    async def run(self) -> None:
        """For ever."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Take what changed. What cannot be taken is told once and leaves what was taken before in force."""
        now = self._clock()
        if _state(self._directory) == self._seen and now < self.standing.current.ends:
            return
        try:
            with files.locked(self._directory, wait=False):
                try:
                    self.standing.set(publish(self._directory, now))
                finally:
                    self._seen = _state(self._directory)
        except files.Busy:
            pass    # whoever it is will be done by the next look
        except ConfigError as exc:
            print(f"bartizan: kept what was published before: {exc}", file=sys.stderr, flush=True)


def last_published(directory: Path) -> Trust:
    path = directory / PUBLISHED
    try:
        return from_json(path.read_bytes(), Trust)
    except FileNotFoundError:
        return Trust(0, "")
    except OSError as exc:
        raise ConfigError("", f"{path}: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError("", f"{path}: {exc}; remove it if it is damaged, the clock then gives the next version") from exc


def _state(directory: Path) -> tuple[tuple[int, int, int] | None, ...]:
    found: list[tuple[int, int, int] | None] = []
    for name in _FOLLOWED:
        try:
            stat = (directory / name).stat()
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)
