"""The collected ledgers: `<store>/<namespace>/<pod>.<uid>.jsonl`, or single files; read as streams, in a memory that does not grow.

A file's place says whose it is: the control plane writes what a pod ships under the pod's own name, whatever the lines claim.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Countersignature, Entry
from sidecar.model.value import from_json

from .chains import Chain
from .coverage import NOTHING, Coverage
from .join import JOIN_SLACK_S, Side, Spill
from .names import workload_of
from .period import Period

HEADS = "heads.json"
COVERAGE = "coverage.json"
MOST_NAMES = 16         # identities that one ledger may claim before we stop counting them

T = TypeVar("T")


class Ledger(Chain, rename="camel"):
    """The chain of one pod's sidecar, and what it says of itself.

    Args:
        namespace: by the file's place; empty for a single file.
        first, last: times of its first and last line.
        shed: entries that it had no room for.
        clock_jumps: how often its machine's clock was set.
        has_ended: its last line says that the sidecar ended in order.
        identities: whose ledger it says it is.
        foreign: lines that claim to be of another namespace than the file's.
    """

    namespace: str = ""
    first: float = 0.0
    last: float = 0.0
    shed: int = 0
    clock_jumps: int = 0
    has_ended: bool = False
    identities: list[str] = msgspec.field(default_factory=list)
    foreign: int = 0

    def note(self, entry: Entry, period: Period) -> None:
        """What one line says of the ledger as a whole."""
        self.first = self.first or entry.time
        self.last = max(self.last, entry.time)
        self.has_ended = entry.kind == "end"
        if entry.kind == "shed" and period.holds(entry.time):
            self.shed += entry.count
        if entry.kind == "clock" and period.holds(entry.time):
            self.clock_jumps += 1
        if not entry.local:
            return
        if entry.local not in self.identities and len(self.identities) < MOST_NAMES:
            self.identities.append(entry.local)
        if self.namespace and workload_of(entry.local)[0] != self.namespace:
            self.foreign += 1


class Store(msgspec.Struct):
    """
    Args:
        files: each with the ledger that it will fill.
        heads: pod uid -> the last head that was countersigned.
    """

    files: list[tuple[Path, Ledger]]
    heads: dict[str, Countersignature]
    coverage: Coverage

    @property
    def ledgers(self) -> list[Ledger]:
        return [ledger for _, ledger in self.files]

    def read(self, period: Period, spill: Spill, refusal: Callable[[Entry, int, bool], None]) -> None:
        """Read every ledger once: connections into `spill`, each refusal in the period to `refusal` (entry, ledger, is sound)."""
        for number, (path, ledger) in enumerate(self.files):
            for entry, is_sound in _entries(path, ledger, self.heads.get(ledger.pod)):
                ledger.note(entry, period)
                is_sound = is_sound and not (ledger.namespace and entry.local and workload_of(entry.local)[0] != ledger.namespace)
                if entry.kind == "connection" and period.since - JOIN_SLACK_S <= entry.time < period.until + JOIN_SLACK_S:
                    spill.add(Side(entry, number, is_sound, period.holds(entry.time)))
                elif entry.kind == "refusal" and period.holds(entry.time):
                    refusal(entry, number, is_sound)


def open_store(paths: Sequence[str], coverage_file: str | None = None) -> Store:
    """The ledgers in folders and files. ConfigError if there is none, or one cannot be looked at."""
    files: list[tuple[Path, Ledger]] = []
    heads: dict[str, Countersignature] = {}
    covered: Path | None = Path(coverage_file) if coverage_file else None
    for text in paths:
        path = Path(text)
        if path.is_dir():
            files += [(found, _placed(found)) for found in sorted(path.glob("*/*.jsonl"))]
            heads |= _read(path / HEADS, dict[str, Countersignature]) or {}
            covered = covered or (path / COVERAGE if (path / COVERAGE).exists() else None)
        elif path.exists():
            files.append((path, Ledger(path.name)))
        else:
            raise ConfigError("store", f"there is no {path}")
    if not files:
        raise ConfigError("store", f"there is no ledger in {', '.join(paths)}; nothing can be said")
    return Store(files, heads, (_read(covered, Coverage) if covered else None) or NOTHING)


def _placed(path: Path) -> Ledger:
    pod, _, uid = path.stem.rpartition(".")
    return Ledger(f"{path.parent.name}/{pod or uid}", uid if pod else "", namespace=path.parent.name)


def _read(path: Path, kind: type[T]) -> T | None:
    """None if the file is not there."""
    try:
        return from_json(path.read_bytes(), kind)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError(str(path), str(exc)) from exc


def _entries(path: Path, ledger: Ledger, known: Countersignature | None) -> Iterator[tuple[Entry, bool]]:
    try:
        with path.open("rb") as file:
            yield from ledger.read(file, Entry, known)
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror}") from exc
