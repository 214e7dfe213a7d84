"""JSON that means one thing: no key twice, no NaN, no lone surrogate, bounded in size and depth.

Trust: the text comes from the network. msgspec refuses what is no JSON; the standard library, which sees every key, refuses
the second of two equal ones. Attacked by tests/injector/test_review.py.
"""

import json

import msgspec

from sidecar.model.errors import ConfigError

MAX_DEPTH = 64
MOST_VALUES = 400_000       # commas and opening brackets, wherever they stand: what reading costs goes by these, not by bytes


def read_json(data: bytes, max_bytes: int) -> object:
    """The value that `data` holds. Raises ConfigError."""
    if len(data) > max_bytes:
        raise ConfigError("", f"{len(data)} bytes are more than the {max_bytes} that are read")
    if (values := sum(map(data.count, (b",", b"{", b"[")))) > MOST_VALUES:
        raise ConfigError("", f"{values:,} values are more than the {MOST_VALUES:,} that are read")
    try:
        value = msgspec.json.decode(data)
        json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as exc:
        raise ConfigError("", f"nested deeper than {MAX_DEPTH}") from exc
    except (msgspec.DecodeError, ValueError) as exc:
        raise ConfigError("", f"not JSON: {exc}") from exc
    _check_depth(value)
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} is there twice")
        found[key] = value
    return found


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON number")


def _check_depth(value: object) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise ConfigError("", f"nested deeper than {MAX_DEPTH}")
        level = [
            child for item in level if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        depth += 1
