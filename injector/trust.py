"""Whom the mesh trusts, followed from the issuer: a standing question, GET /v1/trust?seen=VERSION.

It begins with what was kept, and the very first time with the roots that the injector was given. Only a newer version ever takes
the place of what is held, and it is on disk before anybody hears of it: a restart must not bring a withdrawn name back. While the
issuer is away, what is held stays in force.

Trust: the issuer proves its name under the roots that are held; its answer is taken whole or not at all. Attacked by
tests/injector/test_trust.py.
"""

import sys
from pathlib import Path

import msgspec
import trio

from certs.files import write
from sidecar.model.errors import ConfigError, ConnectFailed, MeshError
from sidecar.model.trust import Trust, check_trust
from sidecar.model.value import from_json
from sidecar.net.anchors import Anchors
from sidecar.net.dial import Dialer
from sidecar.net.files import read_file
from sidecar.net.service import call_https, control_addresses
from sidecar.net.watched import Watched

KEPT = "trust.json"
ANSWER_S = 45.0     # the issuer answers 304 after 30 s without news
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 10.0


class TrustWatch:
    """
    Args:
        issuer_url: https://host[:port] of the issuer.
        folder: where it is kept.
        roots_file: PEM; whom to trust before anything was kept.
    Attributes:
        anchors: the newest trust that was heard of.
    """

    def __init__(self, issuer_url: str, folder: Path, roots_file: str, dialer: Dialer) -> None:
        self._url = issuer_url.rstrip("/") + "/v1/trust"
        self._kept = folder / KEPT
        self._dialer = dialer
        self.anchors = Watched(_begin(self._kept, roots_file))

    @property
    def current(self) -> Trust:
        return self.anchors.current.trust

    def take(self, trust: Trust) -> bool:
        """Whether it was news. ConfigError, and nothing changes, if it is no trust or cannot be kept."""
        if trust.version <= self.current.version:
            return False
        anchors = _checked(trust)
        write(self._kept, msgspec.json.encode(trust), replace=True)
        self.anchors.set(anchors)
        return True

    async def run(self) -> None:
        """For ever."""
        pause = RETRY_FIRST_S
        while True:
            try:
                with trio.fail_after(ANSWER_S):
                    await self._ask()
            except (MeshError, trio.TooSlowError, OSError) as exc:
                why = str(exc) or "no answer in time"
                print(f"bartizan: no news of trust from {self._url}: {why}", file=sys.stderr, flush=True)
                await trio.sleep(pause)
                pause = min(2 * pause, RETRY_MOST_S)
                continue
            pause = RETRY_FIRST_S
            await trio.sleep(RETRY_FIRST_S)

    async def _ask(self) -> None:
        url = f"{self._url}?seen={self.current.version}"
        held = self.anchors.current
        answer = await call_https(self._dialer, await control_addresses(url), url, "GET", roots=held.roots, deny=held.deny)
        if answer.status == 304:
            return
        if answer.status != 200:
            raise ConnectFailed(f"the issuer answered {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}")
        trust = from_json(answer.body, Trust)
        # The same may have come meanwhile with our own certificate.
        if not self.take(trust) and trust != self.current:
            raise ConnectFailed(f"it answered with version {trust.version}, which is not newer than {self.current.version} and not taken")


def _begin(kept: Path, roots_file: str) -> Anchors:
    """From what was kept. ConfigError if that is unusable: to begin without it would forget whom to refuse."""
    if not kept.exists():
        return _checked(Trust(0, read_file(roots_file, "rootsFile").decode("ascii", "replace")))
    try:
        return _checked(from_json(read_file(str(kept), "stateDirectory"), Trust))
    except ConfigError as exc:
        raise ConfigError("stateDirectory", f"{kept} is unusable ({exc}); delete it to begin with the roots of rootsFile") from exc


def _checked(trust: Trust) -> Anchors:
    check_trust("trust", trust)
    return Anchors.of(trust)
