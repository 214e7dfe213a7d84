"""Where the injector finds its objects, and where they are changed: a directory here; the API server in `apiserver.py`."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .objects import Object

Pods = Mapping[tuple[str, str], str]    # uid by namespace and name


class Store(Protocol):
    def source(self) -> Mapping[str, Any]:
        """What the injector's configuration says of it."""
        ...

    async def fill(self, objects: Iterable[Object]) -> Pods:
        """Make these, and tell of the pods among them."""
        ...

    async def put(self, made: Object) -> None:
        """One that is there becomes so; returns when that has been acknowledged."""
        ...


class Directory:
    """A file for each namespace, and one for what belongs to none."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._held: dict[str, dict[tuple[str, str], Object]] = {}

    def source(self) -> Mapping[str, Any]:
        return {"directory": str(self._folder)}

    async def fill(self, objects: Iterable[Object]) -> Pods:
        pods = {}
        for made in objects:
            if made["kind"] == "Pod":
                uid = f"uid-{made['metadata']['namespace']}-{made['metadata']['name']}"
                made = {**made, "metadata": {**made["metadata"], "uid": uid}}
                pods[made["metadata"]["namespace"], made["metadata"]["name"]] = uid
            self._keep(made)
        for place in self._held:
            self._write(place)
        return pods

    async def put(self, made: Object) -> None:
        self._write(self._keep(made))

    def _keep(self, made: Object) -> str:
        place = made["metadata"].get("namespace", "")
        self._held.setdefault(place, {})[made["kind"], made["metadata"]["name"]] = made
        return str(place)

    def _write(self, place: str) -> None:
        path = self._folder / f"{place or 'cluster'}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"kind": "List", "items": list(self._held[place].values())}))
        os.replace(fresh, path)
