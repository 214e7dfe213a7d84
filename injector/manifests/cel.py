"""Values and small sentences in CEL, as Kubernetes has it. Spec: cel-spec, language definition; Kubernetes, Validating Admission Policy."""

import json
from collections.abc import Iterable, Mapping
from typing import Any


def cel(value: Any, names: Mapping[Any, str] | None = None) -> str:
    """A literal.

    Args:
        names: values that stand for something that is known when it is evaluated, with the words to write instead.
    """
    names = names or {}
    if isinstance(value, dict):
        # Without `dyn` all values of a map have to be of one type.
        return "{" + ", ".join(f"{cel(key)}: dyn({cel(one, names)})" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        is_mixed = len({type(one) for one in value}) > 1 or any(isinstance(one, dict) for one in value)
        return "[" + ", ".join(f"dyn({cel(one, names)})" if is_mixed else cel(one, names) for one in value) + "]"
    if not isinstance(value, bool) and value in names:
        return names[value]
    return json.dumps(value, ensure_ascii=False)


def either(sentences: Iterable[str]) -> str:
    return " || ".join(f"({one})" for one in sentences)


def both(sentences: Iterable[str]) -> str:
    return " && ".join(f"({one})" for one in sentences)
