"""The collected ledgers: `<store>/<namespace>/<pod>[@<k>-<first line>].<uid>.jsonl`, one chain a pod, or single files; read as streams.

A file's place says whose it is: the control plane writes what a pod ships under the pod's own name, whatever the lines claim.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Countersignature, Entry
from sidecar.model.value import from_json

from .chains import Chain, Part
from .coverage import NOTHING, Coverage
from .join import JOIN_SLACK_S, Side, Spill
from .names import workload_of
from .period import Period

HEADS = "heads.json"
COVERAGE = "coverage.json"
REMOVED = ("removed.1.jsonl", "removed.jsonl")
NAME = re.compile(r"(?P<pod>[^@]+?)(@(?P<number>[0-9]{1,9})-(?P<first>[0-9]{1,15}))?\.(?P<uid>[A-Za-z0-9-]{1,64})\.jsonl", re.ASCII)
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

    chains: list[tuple[Ledger, list[Part]]]
    heads: dict[str, Countersignature]
    coverage: Coverage
    has_coverage: bool

    @property
    def ledgers(self) -> list[Ledger]:
        return [ledger for ledger, _ in self.chains]

    def read(self, period: Period, spill: Spill, refusal: Callable[[Entry, int, bool], None]) -> None:
        """Read every ledger once: connections into `spill`, each refusal in the period to `refusal` (entry, ledger, is sound).

        ConfigError if a file cannot be read.
        """
        for number, (ledger, parts) in enumerate(self.chains):
            try:
                for entry, is_sound in ledger.read(parts, Entry, self.heads.get(ledger.pod)):
                    is_own = ledger.note(entry, period)
                    if entry.kind == "connection" and period.since - JOIN_SLACK_S <= entry.time < period.until + JOIN_SLACK_S:
                        spill.add(Side(entry, number, is_sound and is_own, period.holds(entry.time)))
                    elif entry.kind == "refusal" and period.holds(entry.time):
                        refusal(entry, number, is_sound and is_own)
            except OSError as exc:
                raise ConfigError(ledger.name, f"{exc.filename}: {exc.strerror}") from exc


def open_store(paths: Sequence[str], coverage_file: str | None = None) -> Store:
    """The ledgers in folders and files. ConfigError if there is none, or one cannot be looked at."""
    chains: list[tuple[Ledger, list[Part]]] = []
    heads: dict[str, Countersignature] = {}
    covered: Path | None = Path(coverage_file) if coverage_file else None
    for text in paths:
        path = Path(text)
        if path.is_dir():
            chains += _in_folder(path)
            heads |= _document(path / HEADS, dict[str, Countersignature]) if (path / HEADS).exists() else {}
            covered = covered or (path / COVERAGE if (path / COVERAGE).exists() else None)
        elif path.exists():
            chains.append((Ledger(path.name), [Part(path)]))
        else:
            raise ConfigError("store", f"there is no {path}")
    if not chains:
        raise ConfigError("store", f"there is no ledger in {', '.join(paths)}; nothing can be said")
    return Store(chains, heads, _document(covered, Coverage) if covered else NOTHING, covered is not None)


def _in_folder(folder: Path) -> Iterator[tuple[Ledger, list[Part]]]:
    """By namespace and pod; of each pod the files in the order of their numbers."""
    removed = _removed(folder)
    found: dict[tuple[str, str, str], list[tuple[int, Part]]] = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        named = NAME.fullmatch(path.name)
        pod, uid, number, first = (named["pod"], named["uid"], int(named["number"] or 1), int(named["first"] or 1)) if named else (
            path.stem, "", 1, 1)
        part = Part(path, first, removed.get((uid, first - 1), ""))
        found.setdefault((path.parent.name, pod, uid), []).append((number, part))
    for (namespace, pod, uid), parts in found.items():
        yield Ledger(f"{namespace}/{pod}", uid, namespace=namespace), [part for _, part in sorted(parts)]


class _Removal(msgspec.Struct):
    """What the control plane wrote down of a file that it removed: its last line, and the hash of that."""

    file: str
    last: int
    head: str


def _removed(folder: Path) -> dict[tuple[str, int], str]:
    """(pod uid, number of a line that was the last of its file) -> its hash."""
    found: dict[tuple[str, int], str] = {}
    for path in (folder / name for name in REMOVED):
        if not path.exists():
            continue
        with path.open("rb") as file:
            for line in file:
                try:
                    removal = msgspec.json.decode(line, type=_Removal)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    continue    # torn, by a crash; a ledger that relies on it is told to be broken
                if named := NAME.fullmatch(Path(removal.file).name):
                    found[named["uid"], removal.last] = removal.head
    return found


def _document(path: Path, kind: type[T]) -> T:
    try:
        return from_json(path.read_bytes(), kind)
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError(str(path), str(exc)) from exc
