"""The approvals of external hosts, found by name: a look-up for each label at most, however many there are.

Exact before wildcard, and of wildcards the narrowest. A wildcard stands for one label or more, never for none.
"""

from collections.abc import Iterable

from sidecar.model.egress import EgressHost


class HostTable:
    def __init__(self, approvals: Iterable[EgressHost]) -> None:
        self._exact: dict[str, EgressHost] = {}
        self._wild: dict[str, EgressHost] = {}      # by what stands behind the star
        for approval in approvals:
            table = self._wild if approval.host.startswith("*.") else self._exact
            table.setdefault(approval.host.removeprefix("*."), approval)

    def find(self, host: str) -> EgressHost | None:
        """
        Args:
            host: as `EgressHost.host`, without a star.
        """
        found = self._exact.get(host)
        if found is not None or not self._wild:
            return found
        at = host.find(".")
        while at >= 0:
            found = self._wild.get(host[at + 1:])
            if found is not None:
                return found
            at = host.find(".", at + 1)
        return None
