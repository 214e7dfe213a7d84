"""How often one source may ask: a token bucket for each, in a table of bounded size.

The issuer's answer costs two signature checks, a signature and an fsync; whoever asks must not decide how many of them there are.
"""

import ipaddress
from collections import OrderedDict

IPV6_PREFIX = 64    # what one machine can choose its addresses from


class RateLimit:
    """
    Args:
        per_s: how fast a bucket fills.
        burst: how much it holds.
        sources: how many buckets are remembered; the one that asked longest ago is forgotten first.
    """

    def __init__(self, per_s: float, burst: int, sources: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._sources = sources
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()   # source -> (filled, when)

    def take(self, remote: str, now: float) -> float:
        """0 if the source may go on; otherwise in how many seconds it may."""
        source = _source(remote)
        filled, since = self._buckets.pop(source, (float(self._burst), now))
        # max: a clock that is set back must not empty a bucket
        filled = min(self._burst, filled + max(0.0, now - since) * self._per_s)
        wait_s = 0.0 if filled >= 1 else (1 - filled) / self._per_s
        self._buckets[source] = (filled if wait_s else filled - 1, now)
        if len(self._buckets) > self._sources:
            self._buckets.popitem(last=False)
        return wait_s


def _source(remote: str) -> str:
    return str(ipaddress.ip_network((remote, IPV6_PREFIX), strict=False)) if ":" in remote else remote
