"""Texts that stand for many: names with one `*` at an end, and RE2 expressions.

RE2 has no backtracking: time is linear in the value, whoever wrote it. What it costs besides is bounded here, since a value of 8 KiB
is matched within milliseconds only if the compiled program is small. No other engine is ever asked.

Trust: the value is a stranger's bytes, perhaps no text at all; such a value matches no expression. Attacked by
tests/policy/test_pattern.py.
"""

from typing import Protocol, cast

from sidecar.model.errors import ConfigError

MAX_PROGRAM = 1000      # instructions; matching 8 KiB takes at most so many for each byte
MAX_MEMORY = 1 << 20


def name_holds(pattern: str, name: str) -> bool:
    """`*` stands for any name; at one end of other text, for any beginning or end."""
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    if pattern.startswith("*"):
        return name.endswith(pattern[1:])
    return name == pattern


class _Compiled(Protocol):
    programsize: int
    reverseprogramsize: int

    def fullmatch(self, text: bytes) -> object | None: ...


class Expression:
    """An RE2 expression that must match the whole value.

    Args:
        where: path to it in its document, for the error.
    Raises: ConfigError if it does not compile or is too large.
    """

    def __init__(self, text: str, where: str) -> None:
        self._compiled = _compile(text, where)

    def holds(self, value: bytes) -> bool:
        if not value.isascii():
            try:
                value.decode()
            except UnicodeDecodeError:
                return False
        return self._compiled.fullmatch(value) is not None


def _compile(text: str, where: str) -> _Compiled:
    import re2  # loaded with the first expression: it takes 2.5 MB

    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.never_capture = True    # nobody asks which part matched where; without groups the automaton suffices
    options.log_errors = False
    try:
        compiled = cast(_Compiled, re2.compile(text, options))
    except (re2.error, UnicodeEncodeError) as exc:
        raise ConfigError(where, f"{text[:120]!r} is no RE2 expression: {exc}") from exc
    size = max(compiled.programsize, compiled.reverseprogramsize)
    if size > MAX_PROGRAM:
        raise ConfigError(where, f"{text[:120]!r} is too large: {size} instructions, {MAX_PROGRAM} are allowed")
    return compiled
