"""A cluster of a few objects, as kubectl would show it; no process is started."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from injector.cli.checks import Check
from injector.cli.kubectl import Forbidden, Kubectl, KubectlError, NotFound
from injector.cluster.objects import Object, selects

Json = dict[str, Any]
NOW = 1_800_000_000.0
SYSTEM = "bartizan-system"
PART = {"app.kubernetes.io/part-of": "bartizan"}


@dataclass(frozen=True, slots=True)
class Fake(Kubectl):
    """
    Args:
        objects: that there are.
        refusals: what fails, by the plural of the kind or the first word; `*`: everything.
        denied: resources that may not be created.
    """

    objects: tuple[Json, ...] = ()
    refusals: Mapping[str, KubectlError] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()
    made_at: str = "2027-01-15T08:00:00Z"       # NOW

    def run(self, *words: str, stdin: bytes = b"", within_s: float = 1.0) -> bytes:
        if "*" in self.refusals:
            raise self.refusals["*"]
        if words[0] == "get" and words[1] == "--raw":
            return b'{"gitVersion": "v1.36.2"}'
        if words[0] == "create":
            return self._create(json.loads(stdin))
        assert words[0] == "get"
        kinds = [kind.partition(".")[0] for kind in words[1].split(",")]
        for kind in kinds:
            if kind in self.refusals:
                raise self.refusals[kind]
        namespace = words[words.index("-n") + 1] if "-n" in words else ""
        wanted = dict(pair.split("=") for word in words if word.startswith("--selector=") for pair in word[11:].split(","))
        found = [one for one in self.objects if any(kind in (plural(one["kind"]), one["kind"].lower()) for kind in kinds)
                 and namespace in ("", one["metadata"].get("namespace", "")) and (not wanted or selects(wanted, Object(one).labels))]
        if words[2].startswith("-"):
            return json.dumps({"items": found}).encode()
        for one in found:
            if one["metadata"]["name"] == words[2]:
                return json.dumps(one).encode()
        raise NotFound(f'{words[1]} "{words[2]}" not found')

    def _create(self, made: Json) -> bytes:
        if made["kind"] == "Namespace":
            if "clock" in self.refusals:
                raise self.refusals["clock"]
            return json.dumps({**made, "metadata": {"creationTimestamp": self.made_at}}).encode()
        asked = made["spec"]["resourceAttributes"]
        return json.dumps({"status": {"allowed": asked["resource"] not in self.denied}}).encode()


def plural(kind: str) -> str:
    if kind.endswith("cy"):
        return f"{kind.lower()[:-1]}ies"
    return kind.lower() + ("es" if kind.endswith("s") else "s")


FORBIDDEN = Forbidden("eve may not", {})


def wrong(checks: Iterable[Check]) -> dict[str, tuple[str, ...]]:
    """What is not well, by anchor."""
    return {check.anchor: check.error for check in checks if check.result != "success"}
