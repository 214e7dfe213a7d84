"""The collected ledgers: `<store>/<namespace>/<pod>[@<k>-<first line>].<uid>.jsonl`, one chain a pod, or single files; read as streams.

A file's place says whose it is: the control plane writes what a pod ships under the pod's own name, whatever the lines claim.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from injector.ledger_store import HEADS, Part, read_heads, read_removed
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Countersignature, Entry
from sidecar.model.value import from_json

from .chains import Chain, Stretch
from .coverage import NOTHING, Coverage
from .join import JOIN_SLACK_S, Connection, Side, Spill
from .names import workload_of
from .period import Period

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

    def note(self, entry: Entry, period: Period) -> bool:
        """What one line says of the ledger as a whole. Returns whether it speaks for a workload that may be the ledger's."""
        self.first = self.first or entry.time
        self.last = max(self.last, entry.time)
        self.has_ended = entry.kind == "end"
        if entry.kind == "shed" and period.holds(entry.time):
            self.shed += entry.count
        if entry.kind == "clock" and period.holds(entry.time):
            self.clock_jumps += 1
        if not entry.local:
            return True
        if entry.local not in self.identities and len(self.identities) < MOST_NAMES:
            self.identities.append(entry.local)
        is_foreign = bool(self.namespace) and workload_of(entry.local)[0] != self.namespace
        self.foreign += is_foreign
        return not is_foreign


class Store(msgspec.Struct):
    """
    Args:
        chains: each ledger that is to be filled, with its files in order.
        heads: pod uid -> the last head that was countersigned.
        has_coverage: whether anybody knows what no ledger tells.
    """

    chains: list[tuple[Ledger, list[Stretch]]]
    heads: dict[str, Countersignature]
    coverage: Coverage
    has_coverage: bool

    @property
    def ledgers(self) -> list[Ledger]:
        return [ledger for ledger, _ in self.chains]

    def connections(self, period: Period, refusal: Callable[[Entry], object]) -> Iterator[Connection]:
        """Read every ledger once: each refusal of the period goes to `refusal`, then its connections come, as both ends tell of them.

        ConfigError if a file cannot be read.
        """
        spill = Spill()
        try:
            self._read(period, spill, refusal)
            yield from spill.connections()
        finally:
            spill.close()

    def _read(self, period: Period, spill: Spill, refusal: Callable[[Entry], object]) -> None:
        for number, (ledger, parts) in enumerate(self.chains):
            try:
                for entry, is_sound in ledger.read(parts, Entry, self.heads.get(ledger.pod)):
                    is_own = ledger.note(entry, period)
                    if entry.kind == "connection" and period.since - JOIN_SLACK_S <= entry.time < period.until + JOIN_SLACK_S:
                        spill.add(Side(entry, number, is_sound and is_own, period.holds(entry.time)))
                    elif entry.kind == "refusal" and period.holds(entry.time):
                        refusal(entry)
            except OSError as exc:
                raise ConfigError(ledger.name, f"{exc.filename}: {exc.strerror}") from exc


def open_store(paths: Sequence[str], coverage_file: str | None = None) -> Store:
    """The ledgers in folders and files. ConfigError if there is none, or one cannot be looked at."""
    found: list[tuple[Ledger, list[Stretch]]] = []
    heads: dict[str, Countersignature] = {}
    covered: Path | None = Path(coverage_file) if coverage_file else None
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found += _in_folder(path)
            known = read_heads(path / HEADS)
            found += _missing(path, known, {ledger.pod for ledger, _ in found})
            heads |= known
            covered = covered or (path / COVERAGE if (path / COVERAGE).exists() else None)
        elif path.exists():
            found.append((Ledger(path.name), [Stretch(path)]))
        else:
            raise ConfigError("store", f"there is no {path}")
    if not found:
        raise ConfigError("store", f"there is no ledger in {', '.join(paths)}; nothing can be said")
    return Store(found, heads, _document(covered, Coverage) if covered else NOTHING, covered is not None)


def _in_folder(folder: Path) -> Iterator[tuple[Ledger, list[Stretch]]]:
    """By namespace and pod; of each pod the files in the order of their numbers."""
    # What was removed: (pod uid, number of a file's last line) -> its hash.
    removed = {
        (named[0], removal.last): removal.head for removal in read_removed(folder) if (named := Part.named(Path(removal.file))) is not None
    }
    found: dict[tuple[str, str, str], list[Part]] = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        named = Part.named(path)
        uid, part = named if named is not None else ("", Part(1, 1, path))
        name = path.name.removesuffix(".jsonl").removesuffix(f".{uid}").partition("@")[0]
        found.setdefault((path.parent.name, name, uid), []).append(part)
    for (namespace, name, uid), parts in found.items():
        yield Ledger(f"{namespace}/{name}", uid, namespace=namespace), [
            Stretch(part.path, part.first, removed.get((uid, part.first - 1), "")) for part in sorted(parts)
        ]


def _missing(folder: Path, heads: dict[str, Countersignature], here: set[str]) -> Iterator[tuple[Ledger, list[Stretch]]]:
    """Pods whose ledgers are gone as a whole, and nobody wrote that down: they are read as empty, which the heads contradict."""
    removed = {removal.head for removal in read_removed(folder)}
    for uid, known in heads.items():
        if uid not in here and known.head not in removed:
            yield Ledger(f"pod {uid}", uid), []


def _document(path: Path, kind: type[T]) -> T:
    try:
        return from_json(path.read_bytes(), kind)
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError(str(path), str(exc)) from exc
