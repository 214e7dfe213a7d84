"""One address of nobody's for each name that is reached by TCP, so that a connection says which name it means: its synthetic address.

They lie in 240.0.0.0/4 (RFC 1112 s4: reserved), which the packet rules capture and deliver like any other. Where a name's address lies
follows from the name, so that every replica gives the same one, but for the rare two that would have one place. A name that has one
keeps it, over restarts too, since an application may keep what it was told: no other name ever gets it.
"""

import hashlib
import ipaddress
import sys
from collections.abc import Iterable

import msgspec

from sidecar.model.errors import ConfigError
from sidecar.net.files import keep, read_file

FIRST = int(ipaddress.IPv4Address("240.0.0.1"))
PLACES = int(ipaddress.IPv4Address("255.255.255.254")) - FIRST + 1      # neither the range's own address nor broadcast
MOST_NAMES = 4096


class Synthetic:
    """
    Args:
        path: where they are kept over a restart, in a folder of the sidecar's own; None: nowhere.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        if path is not None:
            self._read(path)

    def address(self, name: str) -> str | None:
        """That of the name, given now if it has none; None if there is no more."""
        self.give((name,))
        return self._addresses.get(name)

    def give(self, names: Iterable[str]) -> None:
        """An address to each of them that has none, as long as there are any."""
        new = [name for name in dict.fromkeys(names) if name not in self._addresses][:MOST_NAMES - len(self._addresses)]
        for name in new:
            self._place(name)
        if new and self._path is not None:
            try:
                keep(self._path, msgspec.json.encode(self._addresses))
            except OSError as exc:
                _say(f"synthetic addresses are not kept over a restart: {self._path}: {exc.strerror}")

    def name(self, address: str) -> str | None:
        """Whose it is; None: nobody's."""
        return self._names.get(address)

    def _place(self, name: str) -> None:
        at = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % PLACES
        while (address := str(ipaddress.IPv4Address(FIRST + at))) in self._names:
            at = (at + 1) % PLACES
        self._addresses[name], self._names[address] = address, name

    def _read(self, path: str) -> None:
        """What was kept. A file that is not whole is as good as none: half of it would give addresses away for a second time."""
        try:
            kept = msgspec.json.decode(read_file(path, ""), type=dict[str, str])
            numbers = [int(ipaddress.IPv4Address(text)) for text in kept.values()]
            if len(kept) > MOST_NAMES or len(set(numbers)) < len(kept) or not all(0 <= n - FIRST < PLACES for n in numbers):
                raise ValueError("more names, or other addresses, than were ever given")
        except ConfigError as exc:
            if not isinstance(exc.__cause__, FileNotFoundError):
                _say(f"synthetic addresses begin anew: {exc}")
        except (msgspec.DecodeError, ValueError) as exc:
            _say(f"{path} cannot be used, synthetic addresses begin anew: {exc}")
        else:
            self._addresses = kept
            self._names = {address: name for name, address in kept.items()}


def _say(text: str) -> None:
    print(f"bartizan: {text}", file=sys.stderr, flush=True)
