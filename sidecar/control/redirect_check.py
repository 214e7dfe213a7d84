"""Are the packet rules still there? The sidecar asks again and again; whoever closes the outbound side watches the verdict.

Some rules are not judged here. PREROUTING shows itself to the kubelet, which asks readiness through a captured port. The guard
over the kernel's own UDP sockets cannot be asked without such a socket. Of several ranges of user IDs (a user namespace whose
map has many lines) the one that holds the sidecar's own is tested. What a MeshPolicy lets pass (model/passage.py) needs no judgement:
without such a rule less passes; nor what keeps DNS queries apart: without it, few go astray, and fail.
"""

from collections.abc import Callable

import msgspec
import trio

from sidecar import intercept
from sidecar.model.ports import Family
from sidecar.net.canary import CanaryArrivals, Facts, probe
from sidecar.net.watched import Watched

FAMILIES: tuple[Family, ...] = (4, 6)


class RedirectVerdict(msgspec.Struct, frozen=True):
    """
    Args:
        lost: what is wrong, in words: the family and the rule's comment.
    """

    lost: tuple[str, ...] = ()

    @property
    def is_intact(self) -> bool:
        return not self.lost


UNTESTED = RedirectVerdict(("not tested yet",))

# What each fact must be, and the rule that is lost where it is not.
_DEMANDS: tuple[tuple[Callable[[Facts], bool | None], bool, str], ...] = (
    (lambda facts: facts.own_dns_arrived, False, intercept.NAT_EXEMPTION),
    (lambda facts: facts.dns_arrived, True, intercept.DNS_REDIRECT),
    (lambda facts: facts.tcp_arrived, True, intercept.TCP_REDIRECT),
    (lambda facts: facts.could_send, True, intercept.SENDING_EXEMPTION),
    (lambda facts: facts.guard_refused, True, intercept.SENDING_GUARD),
    (lambda facts: facts.local_stayed, True, intercept.LOCAL_GUARD),
)


def judge(family: Family, facts: Facts) -> tuple[str, ...]:
    """The rules that `facts` show to be lost. What could not be asked is not judged: nothing leaves where there is no way."""
    return tuple(f"IPv{family}: {rule}" for fact, wanted, rule in _DEMANDS if fact(facts) not in (None, wanted))


async def check_redirect(arrivals: CanaryArrivals, *, within_s: float, mark: int | None) -> RedirectVerdict:
    """Test both families at once. A rule is lost if it fails twice in a row: a process that was stopped wakes up late.

    Raises: OSError if a socket cannot be had.
    """
    async def lost_now() -> tuple[str, ...]:
        lost: dict[Family, tuple[str, ...]] = {}

        async def ask(family: Family) -> None:
            lost[family] = judge(family, await probe(family, arrivals, within_s=within_s, mark=mark))

        async with trio.open_nursery() as nursery:
            for family in FAMILIES:
                nursery.start_soon(ask, family)
        return tuple(rule for family in FAMILIES for rule in lost[family])

    if not (suspects := await lost_now()):
        return RedirectVerdict()
    again = await lost_now()
    return RedirectVerdict(tuple(rule for rule in suspects if rule in again))


async def run_redirect_check(verdict: Watched[RedirectVerdict], arrivals: CanaryArrivals, *, interval_s: float, within_s: float,
                             mark: int | None) -> None:
    """Test until cancelled, with a pause of `interval_s` in between. `verdict` starts as UNTESTED.

    Args:
        within_s: how long a canary may take to arrive, through our own event loop.
        mark: SO_MARK for every socket, where the exemption goes by mark.
    """
    while True:
        try:
            verdict.set(await check_redirect(arrivals, within_s=within_s, mark=mark))
        except* OSError as group:  # out of descriptors, most likely: what cannot be tested is not relied on
            verdict.set(RedirectVerdict((f"the test itself failed: {group.exceptions[0]}",)))
        await trio.sleep(interval_s)
