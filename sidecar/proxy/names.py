"""How fast, and how suspicious, names below approved wildcards come; whoever brings them is asked before a name server hears of them.

A question to the DNS guard is one way to have such a name looked up. A Host or a TLS name is another, by a connection to any address:
the sidecar resolves it. So all of them are judged here, against one account of new names. An egress gateway keeps one for each caller,
whose sidecar may have been taken over.
"""

from collections.abc import Callable

import trio

from sidecar.model.decision import Denied
from sidecar.model.egress import DnsLimits, EgressHost
from sidecar.model.reason import Reason
from sidecar.policy.dns_limits import NewNames, why_suspicious
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

_TOO_FAST = "more different names than {limits.per_s:g} a second, after the first {limits.burst} (perS, burst)"


class Names:
    def __init__(self) -> None:
        self._new: dict[str, NewNames] = {}

    def why_too_many(self, name: str, limits: DnsLimits, caller: str = "") -> str:
        """In words; empty: it was asked for before, or there is room for a new one."""
        new = self._new.setdefault(caller, NewNames())
        return "" if new.take(name, limits, trio.current_time()) else _TOO_FAST.format(limits=limits)

    def why_suspicious(self, name: str, approval: EgressHost, limits: DnsLimits, caller: str = "") -> str:
        """In words; empty: it may be looked up. What is approved by its own name carries nothing of the asker's."""
        if not approval.host.startswith("*."):
            return ""
        return why_suspicious(name[:1 - len(approval.host)], limits) or self.why_too_many(name, limits, caller)

    def judge(
        self, name: str, approval: EgressHost, rules: Rules, record: Record, *, is_observed: Callable[[], bool] = bool, caller: str = ""
    ) -> Denied | None:
        """Why the name of a request or connection is not looked up.

        Args:
            record: what is only observed is written down in it.
            is_observed: whether it is let through all the same; asked where there is a reason.
        """
        limits = rules.snapshot.outbound.dns
        if caller and caller not in self._new:      # the moment to forget whom we lead no longer
            self._new = {one: new for one, new in self._new.items() if not one or one in rules.callers}
        why = self.why_suspicious(name, approval, limits, caller)
        if not why:
            return None
        if is_observed() or limits.mode == "observe":
            record.detail = f"{Reason.NAME_SUSPICIOUS.code} {Reason.NAME_SUSPICIOUS.token}: {why}"
            return None
        return Denied(Reason.NAME_SUSPICIOUS, approval.rule, why)
