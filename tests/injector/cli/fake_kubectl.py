"""A kubectl for tests of the verbs: objects in a file, of which it gets, lists and deletes. The real one: tests/e2e/kubernetes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]


class FakeKubectl:
    """Stands on the PATH as `kubectl`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        program = folder / "kubectl"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} {__file__} {folder} \"$@\"\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        self.put()

    def put(self, *objects: Json) -> None:
        """What the cluster holds, and no more."""
        (self._folder / "objects").write_text(json.dumps(objects))
        (self._folder / "deleted").write_text("")

    @property
    def objects(self) -> list[Json]:
        found: list[Json] = json.loads((self._folder / "objects").read_text())
        return found

    @property
    def deleted(self) -> list[str]:
        """`StatefulSet bartizan-issuer`, in the order in which they went."""
        return (self._folder / "deleted").read_text().splitlines()


def namespace(name: str, **labels: str) -> Json:
    ours = {f"bartizan.dev/{key}": value for key, value in labels.items()}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": ours}}


def meshed_pod(name: str, injector: str = "bartizan-injector", phase: str = "Running") -> Json:
    """In the namespace shop."""
    variable = {"name": "BARTIZAN_CONFIG", "value": f'{{"snapshot": {{"url": "https://{injector}.bartizan-system.svc:9444"}}}}'}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "status": {"phase": phase},
        "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "bartizan-sidecar", "env": [variable]}]},
    }


def _main(folder: Path, verb: str, *words: str) -> None:
    objects: list[Json] = json.loads((folder / "objects").read_text())
    if verb == "delete":
        for one in json.loads(sys.stdin.read())["items"]:
            objects = [made for made in objects if (made["kind"], made["metadata"]["name"]) != (one["kind"], one["metadata"]["name"])]
            with (folder / "deleted").open("a") as file:
                file.write(f"{one['kind']} {one['metadata']['name']}\n")
        (folder / "objects").write_text(json.dumps(objects))
        return
    kinds = [kind.removesuffix("s") for kind in words[0].replace("policies", "policys").replace("classes", "classs").split(",")]
    name = words[1] if not words[1].startswith("-") else ""
    where = words[words.index("-n") + 1] if "-n" in words else ""
    selector = next((word.partition("=")[2] for word in words if word.startswith("--selector=")), "")
    found = [
        made for made in objects
        if made["kind"].lower() in kinds and (not name or made["metadata"]["name"] == name)
        and (not where or made["metadata"].get("namespace") == where) and all(_is_meant(made, term) for term in selector.split(","))
    ]
    if name and not found:
        sys.exit(f'Error from server (NotFound): {words[0]} "{name}" not found')
    print(json.dumps(found[0] if name else {"items": found}))


def _is_meant(made: Json, term: str) -> bool:
    labels = made["metadata"].get("labels", {})
    if term.startswith("!"):
        return term[1:] not in labels
    key, is_said, value = term.partition("=")
    return not is_said or labels.get(key) == value


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:])
