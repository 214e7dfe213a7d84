"""Changes to an object, recorded as a JSON Patch while they are made. Spec: RFC 6902, RFC 6901."""

import copy
from collections.abc import Mapping
from typing import Any

Step = str | int


def pointer(path: tuple[Step, ...]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


class Patch:
    """`value` is what `operations` make of the object that this was made from."""

    def __init__(self, original: Mapping[str, Any]) -> None:
        self.value: dict[str, Any] = copy.deepcopy(dict(original))
        self.operations: list[dict[str, Any]] = []

    def set(self, path: tuple[Step, ...], value: Any) -> None:
        """Give the field at `path` this value. Objects that are missing on the way are made; nothing is recorded if it has it."""
        parent = self._parent(path)
        step: Any = path[-1]
        exists = isinstance(parent, list) or step in parent
        if not exists or parent[step] != value:
            self._record("replace" if exists else "add", path, value)
            parent[step] = copy.deepcopy(value)

    def insert(self, path: tuple[Step, ...], index: int, value: Any) -> None:
        """Put `value` into the list at `path` before `index`; the list is made if it is missing. Other items stay as they are."""
        parent = self._parent(path)
        if parent.get(path[-1]) is None:
            self.set(path, [])
        found = parent[path[-1]]
        self._record("add", (*path, index if index < len(found) else "-"), value)
        found.insert(index, copy.deepcopy(value))

    def remove(self, path: tuple[Step, ...], index: int) -> None:
        """Take an item out of the list at `path`."""
        del self._parent(path)[path[-1]][index]
        self.operations.append({"op": "remove", "path": pointer((*path, index))})

    def _parent(self, path: tuple[Step, ...]) -> Any:
        found: Any = self.value
        for i, step in enumerate(path[:-1]):
            if isinstance(found, dict) and found.get(str(step)) is None:
                self._record("add", path[:i + 1], {})       # RFC 6902 s4.1: `add` replaces a null, too
                found[str(step)] = {}
            found = found[step]
        return found

    def _record(self, operation: str, path: tuple[Step, ...], value: Any) -> None:
        self.operations.append({"op": operation, "path": pointer(path), "value": copy.deepcopy(value)})
