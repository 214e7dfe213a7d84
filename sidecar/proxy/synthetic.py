"""One address of nobody's for each name that is reached by TCP, so that a connection says which name it means.

They are taken from 240.0.0.0/4 (RFC 1112 s4: reserved), which the packet rules capture and deliver like any other. A name that has
one keeps it.
"""

import ipaddress

FIRST = int(ipaddress.IPv4Address("240.0.0.1"))
MOST_NAMES = 4096


class Synthetic:
    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def address(self, name: str) -> str | None:
        """That of the name, given now if it has none; None if there is no more."""
        known = self._addresses.get(name)
        if known is None and len(self._addresses) < MOST_NAMES:
            known = str(ipaddress.IPv4Address(FIRST + len(self._addresses)))
            self._addresses[name], self._names[known] = known, name
        return known

    def name(self, address: str) -> str | None:
        """Whose it is; None: nobody's."""
        return self._names.get(address)
