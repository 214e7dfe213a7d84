"""What the hardening added to containers that are not ours, in words: they stand in the status annotation, so that it can be taken back."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from . import documents
from .cluster.objects import Json, at, texts
from .hardening import DROPPED

DROP = ("capabilities", "drop")
# Capabilities that were put at the end of `drop`, and fields of the securityContext that were not there.
WORDS = frozenset({*DROPPED["strict"], "allowPrivilegeEscalation", "seccompProfile"})

Added = Mapping[str, tuple[str, ...]]       # by container


def words_of(container: Json, path: tuple[str, ...], value: Any) -> tuple[str, ...]:
    """
    Args:
        container: before the addition.
        path, value: of one of `hardening.additions`.
    """
    if path != DROP:
        return path
    before = texts(at(container, "securityContext", "capabilities").get("drop"), "capabilities.drop")
    return tuple(value[len(before):])


def added_of(annotations: Json) -> Added:
    """As the status annotation says it; what are no words of ours is left out."""
    status = annotations.get(documents.STATUS)
    try:
        found = msgspec.json.decode(status, type=dict[str, Any]).get("hardened") if isinstance(status, str) else None
        said = msgspec.convert(found or {}, dict[str, tuple[str, ...]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return {name: tuple(word for word in words if word in WORDS) for name, words in said.items()}


def taken_back(security: Json, added: Collection[str]) -> dict[str, Any]:
    """A container's securityContext without what was added."""
    kept = {field: value for field, value in security.items() if field not in added}
    capabilities = dict(at(security, "capabilities"))
    if "drop" in capabilities:
        capabilities["drop"] = [one for one in texts(capabilities["drop"], "capabilities.drop") if one not in added]
        kept["capabilities"] = {field: value for field, value in capabilities.items() if field != "drop" or value}
    return {field: value for field, value in kept.items() if field != "capabilities" or value}
