"""What `bartizan check` looks at, as values: categories of checks, each with its result and the place of its hints.

    before          what must hold before an installation
    control_plane   what an installation must be
    gateway         the ingress gateway, where there is one
    data_plane      what holds in the namespaces of the mesh
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from injector.cli.terminal import Paint, printable

Result = Literal["success", "warning", "error"]
HINTS = "examples/kubernetes/checks.md"
MARKS = {"success": "√", "warning": "‼", "error": "×"}
_COLOURS = {"success": "green", "warning": "yellow", "error": "red"}


@dataclass(frozen=True, slots=True)
class Check:
    """
    Args:
        description: what was looked at, as a fact: `all injectors are ready`.
        anchor: of its hints, in HINTS.
        error: what is wrong, a line each; empty: nothing.
        result: `warning`: it goes on working.
    """

    description: str
    anchor: str
    error: tuple[str, ...] = ()
    result: Result = "success"

    @property
    def hint(self) -> str:
        return f"{HINTS}#{self.anchor}"


Category = tuple[str, list[Check]]


def failed(description: str, anchor: str, *error: str, result: Result = "error") -> Check:
    return Check(description, anchor, error, result)


def judged(description: str, anchor: str, error: Iterable[str], result: Result = "error") -> Check:
    """Success, if nothing is wrong."""
    found = tuple(error)
    return Check(description, anchor, found, result if found else "success")


def has_failed(categories: Iterable[Category]) -> bool:
    return any(check.result == "error" for _, checks in categories for check in checks)


def as_json(categories: list[Category]) -> dict[str, object]:
    """In the shape of linkerd's."""
    return {
        "success": not has_failed(categories),
        "categories": [{
            "categoryName": name,
            "checks": [{
                "description": check.description, "result": check.result,
                **({"error": "\n".join(check.error), "hint": check.hint} if check.error else {}),
            } for check in checks],
        } for name, checks in categories],
    }


def as_text(categories: Iterable[Category], paint: Paint, *, is_short: bool = False) -> Iterator[str]:
    """
    Args:
        is_short: nothing of what is well.
    """
    categories, is_first = list(categories), True
    for name, checks in categories:
        shown = [check for check in checks if not is_short or check.error]
        if not shown:
            continue
        yield from () if is_first else ("",)
        yield paint(name, "bold")
        yield "-" * len(name)
        is_first = False
        for check in shown:
            yield f"{paint(MARKS[check.result], _COLOURS[check.result])} {printable(check.description)}"     # type: ignore[arg-type]
            yield from (f"    {printable(line)}" for line in check.error)
            if check.error:
                yield f"    see {check.hint} for hints"
    warnings = sum(check.result == "warning" for _, checks in categories for check in checks)
    counted = f" ({warnings} warning{'s' if warnings > 1 else ''})" if warnings else ""
    mark = paint(MARKS["error"], "red") if has_failed(categories) else paint(MARKS["success"], "green") + counted
    yield from () if is_first else ("",)
    yield f"Status check results are {mark}"
