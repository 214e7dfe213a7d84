"""Keeps the workload's certificate fresh: asks the issuer for one, and for the next in good time.

The next one is asked for
    at half the life of this one, with jitter so that a fleet does not come at once, and by whichever comes first of the wall clock,
        which certificates go by, and the monotonic one, which nobody sets;
    within a few seconds, when the mesh signs with another root than the one that ours leads to;
    at once, on request, and when the clock was set back to before the certificate begins.
While the issuer is away the old certificate serves until it ends, and then nothing does, until there is a new one. The key is in
memory only, unless `keep_file` says where it survives a restart of the container.
"""

import random  # noqa: TID251 -- the generator's type
import sys

import trio

from sidecar.model.config import IssuedIdentity
from sidecar.model.errors import ConfigError, MeshError, NotVerified
from sidecar.model.trust import NOBODY, check_trust
from sidecar.net.clock import WallClock, utc_text
from sidecar.net.dial import Dialer
from sidecar.net.files import read_file
from sidecar.net.tls_context import Credentials, load_certificates
from sidecar.net.watched import Watched

from .issuance import Obtained, obtain
from .kept_identity import KeptIdentity, read_kept, write_kept
from .keyring import Keyring

ATTEMPT_S = 15.0
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 30.0
LEAST_LIFE_S = 1.0
SPREAD_S = 3.0      # within it a fleet comes that hears of a new signer
SKEW_S = 60.0       # as much as certificates are backdated

UNTRUSTED = "certificate verify failed"    # OpenSSL's words: by its chain or its dates
SET_CLOCK = "set the clock that is wrong (NTP)"


class Agent:
    """Keeps `keyring` supplied, as long as `run` runs.

    Attributes:
        renewals: certificates that were taken.
        failures: times that one was asked for in vain.
        problem: why it was in vain the last time; empty since one was taken.
        skew_s: how far the issuer's clock was ahead of ours when it last answered.
    """

    def __init__(self, config: IssuedIdentity, keyring: Keyring, dialer: Dialer, wall: WallClock, rng: random.Random) -> None:
        self._config = config
        self._keyring = keyring
        self._dialer = dialer
        self._wall = wall
        self._rng = rng
        self._due_at = 0.0                      # by the wall clock
        self._due_by = trio.current_time()      # by the monotonic one
        self._due_since: float | None = None    # monotonic; None: nothing is due
        self._thoughts = Watched(0)             # counts what may have changed when it is due
        self.renewals = 0
        self.failures = 0
        self.problem = ""
        self.skew_s = 0.0

    # -- what others ask and tell

    def rotate(self) -> None:
        """Ask for a new certificate now."""
        self._hurry(0)

    def clock_jumped(self) -> None:
        """The wall clock was set: what is due by it may be due now."""
        held = self._keyring.credentials
        if held is not None and self._wall() < _begins(held):
            _say(f"by this clock the certificate begins at {utc_text(_begins(held))} only: peers who share it refuse us; {SET_CLOCK}")
            self._hurry(0)
        self._think_again()

    def why_none(self) -> str:
        """Why there is no valid certificate, in words."""
        held = self._keyring.credentials
        since = f"the last one ended at {utc_text(held.not_after)}" if held is not None else "none was issued yet"
        return f"no valid certificate: {since}; the issuer: {self.problem or 'no answer yet'}"

    @property
    def overdue_s(self) -> float:
        """How long a certificate has been asked for in vain."""
        return 0.0 if self._due_since is None else trio.current_time() - self._due_since

    def renewal(self) -> dict[str, object]:
        """For who looks: when the next certificate is due, and how it went so far."""
        return {
            "dueAt": self._due_at, "overdueS": self.overdue_s, "renewals": self.renewals, "failures": self.failures,
            "problem": self.problem, "clockSkewS": self.skew_s,
        }

    def gauges(self) -> dict[str, float]:
        return {
            "bartizan_identity_renewals_total": self.renewals,
            "bartizan_identity_renewal_failures_total": self.failures,
            "bartizan_identity_renewal_overdue_seconds": self.overdue_s,
            "bartizan_clock_skew_seconds": self.skew_s,
        }

    # -- when

    async def run(self) -> None:
        """For ever."""
        self._take_kept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_signer)
            await self._keep_fresh()

    async def _follow_signer(self) -> None:
        while True:
            tls = self._keyring.tls.current
            if tls is not None and not self._keyring.is_of_the_signer:
                self._hurry(self._rng.uniform(0, SPREAD_S))
            await self._keyring.tls.wait_change(tls)

    async def _keep_fresh(self) -> None:
        pause = RETRY_FIRST_S
        while True:
            await self._wait_due()
            try:
                with trio.fail_after(ATTEMPT_S):
                    await self._renew()
            except (MeshError, trio.TooSlowError, OSError) as exc:
                self.failures += 1
                self.problem = str(exc) or "no answer in time"
                _say(f"no certificate from {self._config.url}: {self.problem}")
            else:
                if self._keyring.is_of_the_signer:
                    pause = RETRY_FIRST_S
                    continue
                _say(f"{self._config.url} signs with another root than the trust bundle names; a new certificate is asked for again")
            await trio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, RETRY_MOST_S)

    async def _wait_due(self) -> None:
        while (left_s := min(self._due_at - self._wall(), self._due_by - trio.current_time())) > 0:
            with trio.move_on_after(left_s):
                await self._thoughts.wait_change(self._thoughts.current)
        if self._due_since is None:
            self._due_since = trio.current_time()

    def _hurry(self, within_s: float) -> None:
        self._due_by = min(self._due_by, trio.current_time() + within_s)
        self._think_again()

    def _think_again(self) -> None:
        self._thoughts.set(self._thoughts.current + 1)

    def _schedule(self, due_at: float) -> None:
        self._due_at = due_at
        self._due_by = trio.current_time() + max(0.0, due_at - self._wall())
        self._due_since = None

    # -- what

    def _take_kept(self) -> None:
        """Start from what was kept, if it can be used. Its trust is good also when its certificate has ended."""
        path = self._config.keep_file
        if path is None:
            return
        try:
            kept = read_kept(path)
            if kept is None:
                return
            self._keyring.take_trust(kept.trust)
            if kept.credentials.not_after <= self._wall():
                raise ConfigError("", f"its certificate ended at {utc_text(kept.credentials.not_after)}")
            self._keyring.take_issued(kept.credentials, kept.trust)
            self._schedule(min(kept.renew_at, kept.credentials.not_after))
        except ConfigError as exc:
            _say(f"the kept identity is not used: {exc}")

    async def _renew(self) -> None:
        """Cancelled, or with an error, it has changed nothing."""
        anchors = self._keyring.anchors
        # The roots at injection start the trust; later ones came over it.
        roots = anchors.roots if anchors is not None else tuple(
            load_certificates(read_file(self._config.roots_file, "identity.rootsFile"), "identity.rootsFile")
        )
        try:
            obtained = await obtain(self._config, roots, self._dialer, deny=anchors.deny if anchors is not None else NOBODY)
        except NotVerified as exc:
            if UNTRUSTED not in str(exc):
                raise
            held = f"of the trust bundle, version {anchors.trust.version}" if anchors is not None else "that the pod was injected with"
            raise NotVerified(
                f"{exc}; the issuer was judged by the roots {held}, at {utc_text(self._wall())} by this clock. If a rotation of the root "
                f"passed this pod by, restart the pod: it starts with the current bundle. If the date is wrong, {SET_CLOCK}"
            ) from exc
        now = self._wall()
        self._judge(obtained, now)
        credentials = obtained.credentials
        self._keyring.take_issued(credentials, obtained.trust)
        # Nothing below can fail, or waits.
        self.renewals += 1
        self.problem = ""
        self.skew_s = obtained.now - now
        if abs(self.skew_s) > SKEW_S:
            _say(f"the issuer's clock says {utc_text(obtained.now)}, this one {utc_text(now)}; {SET_CLOCK}")
        # By whose clock it ends sooner.
        life_s = credentials.not_after - max(now, obtained.now)
        self._schedule(now + max(LEAST_LIFE_S, life_s * self._rng.uniform(0.45, 0.55)))
        self._keep(credentials)

    def _judge(self, obtained: Obtained, now: float) -> None:
        """ConfigError says why what the issuer gave is not taken."""
        credentials, held = obtained.credentials, self._keyring.credentials
        begins, ends = _begins(credentials), credentials.not_after
        check_trust("trust", obtained.trust)
        if held is not None and credentials.identity != held.identity:
            raise ConfigError("chain", f"it says {credentials.identity}; this is {held.identity}. If that is meant, restart the pod")
        if not begins <= obtained.now <= ends:
            raise ConfigError("now", f"the issuer's clock, {utc_text(obtained.now)}, lies outside of the certificate that it issued")
        if ends <= now:
            raise ConfigError(
                "chain", f"it ended at {utc_text(ends)} by this clock, which says {utc_text(now)}; the issuer's says "
                f"{utc_text(obtained.now)}: {SET_CLOCK}"
            )
        if now < begins:
            _say(f"by this clock, which says {utc_text(now)}, the new certificate begins at {utc_text(begins)} only; {SET_CLOCK}")

    def _keep(self, credentials: Credentials) -> None:
        if self._config.keep_file is None:
            return
        assert self._keyring.trust is not None
        try:
            write_kept(self._config.keep_file, KeptIdentity(credentials, self._keyring.trust, self._due_at))
        except OSError as exc:
            _say(f"a restarted container will need the issuer: cannot write {self._config.keep_file}: {exc.strerror}")


def _begins(credentials: Credentials) -> float:
    return credentials.chain[0].not_valid_before_utc.timestamp()


def _say(text: str) -> None:
    print(f"bartizan: {text}", file=sys.stderr, flush=True)
