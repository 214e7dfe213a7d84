"""The last good version of each entry of each workload's annotations, kept over restarts.

One broken rule keeps its previous version while the others go on; a document that cannot be read at all keeps all of its entries.
A rule that was taken out is forgotten.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from injector.cluster import Cluster
from injector.validate import Problem, Reading
from sidecar.model.errors import ConfigError

T = TypeVar("T")

Entries = dict[str, object]


class LastGood:
    """
    Args:
        path: where it is kept; None: in memory only.
        kept: by workload, annotation and entry.
    """

    def __init__(self, path: Path | None = None, kept: dict[str, dict[str, Entries]] | None = None) -> None:
        self._path = path
        self._kept = kept or {}
        self._is_changed = False
        self._saved = b""
        self._read: dict[tuple[str, str], tuple[str, Mapping[str, Any], frozenset[str], tuple[Problem, ...]]] = {}

    @classmethod
    def load(cls, path: Path) -> "LastGood":
        """What was saved; nothing if nothing was. ConfigError if the file is unreadable: delete it to begin anew."""
        try:
            return cls(path, msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Entries]]))
        except FileNotFoundError:
            return cls(path)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ConfigError("stateDirectory", f"{path} is unusable ({exc}); delete it to begin without memory") from exc

    def read(
        self, workload: str, annotation: str, text: str, read: Callable[[str], Reading[T]], convert: Callable[[object], T],
    ) -> tuple[Mapping[str, T], frozenset[str], tuple[Problem, ...]]:
        """The entries in force; the names of those that are broken and never were in force; and what is wrong. A text that was just
        read is not read again.
        """
        last = self._read.get((workload, annotation))
        if last is None or last[0] != text:
            reading = read(text)
            entries = self.merge(workload, annotation, reading, convert)
            last = text, entries, (reading.broken or frozenset()) - entries.keys(), reading.problems
            self._read[workload, annotation] = last
        return last[1:]

    def merge(self, workload: str, annotation: str, reading: Reading[T], convert: Callable[[object], T]) -> Mapping[str, T]:
        """The entries in force: those that are valid, and the previous version of those that are not."""
        previous = self._kept.get(workload, {}).get(annotation, {})
        broken = previous.keys() if reading.broken is None else reading.broken & previous.keys()
        entries = dict(reading.entries)
        for name in sorted(broken):
            try:
                entries[name] = convert(previous[name])
            except msgspec.ValidationError:
                continue    # kept by another version of ours, which knew other fields
        self._keep(workload, annotation, {name: msgspec.to_builtins(entry) for name, entry in entries.items()})
        return entries

    def forget(self, workload: str, annotation: str) -> None:
        """The annotation is gone."""
        self._read.pop((workload, annotation), None)
        self._keep(workload, annotation, {})

    def forget_gone(self, cluster: Cluster) -> None:
        """What was declared by objects that are no more."""
        there = {f"{namespace}/{kind}/{name}" for kind, namespace, name in cluster.workloads}
        there |= {f"{namespace}/Pod/{name}" for namespace, name in cluster.pods}
        there |= {f"{namespace}/{kind}/{name}" for kind in ("Ingress", "HTTPRoute") for namespace, name in cluster.of_kind(kind)}
        self._is_changed |= not self._kept.keys() <= there
        self._kept = {workload: kept for workload, kept in self._kept.items() if workload in there}
        self._read = {key: read for key, read in self._read.items() if key[0] in there}

    def _keep(self, workload: str, annotation: str, entries: Entries) -> None:
        of_workload = self._kept.setdefault(workload, {})
        if of_workload.get(annotation, {}) != entries:
            of_workload[annotation] = entries
            self._is_changed = True

    def save(self) -> None:
        """Atomically, if anything changed. Pods of two versions of a workload may change it to and fro, which is no reason to write."""
        if self._path is None or not self._is_changed:
            return
        data = msgspec.json.encode(self._kept, order="deterministic")
        if data != self._saved:
            fresh = self._path.with_name(f".{self._path.name}.new")
            fresh.write_bytes(data)
            os.replace(fresh, self._path)
        self._saved, self._is_changed = data, False
