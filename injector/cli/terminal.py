"""What the verbs print: tables, marks, colours where somebody looks at them; and nothing that others could write to the terminal with.

Trust: names and texts come from the API server, from sidecars and from whoever answers outside; what does not print is escaped.
Attacked by tests/injector/cli/test_terminal.py and tests/injector/cli/test_asking.py.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Colour = Literal["", "red", "yellow", "green", "bold"]
_SGR = {"red": "31", "yellow": "33", "green": "32", "bold": "1"}


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours, or none of them."""

    is_on: bool = False

    def __call__(self, text: str, colour: Colour) -> str:
        return f"\x1b[{_SGR[colour]}m{text}\x1b[0m" if self.is_on and colour else text


def add_colour(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-color", action="store_true", help="no colours; so does the variable NO_COLOR, and any output but a terminal")


def paint_of(args: argparse.Namespace) -> Paint:
    """Spec: no-color.org: the variable counts if it is there and not empty."""
    return Paint(sys.stdout.isatty() and not args.no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def printable(text: str) -> str:
    """What would move the cursor, turn the writing round or hide is shown as its number."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def listed(names: Sequence[str], most: int) -> str:
    """`a, b and 3 more`"""
    more = f" and {len(names) - most} more" if names[most:] else ""
    return ", ".join(names[:most]) + more


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as what stands in them, as kubectl's: three spaces between, none at a line's end."""
    lines = [list(heads), *([printable(cell) or "-" for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def ago(seconds: float) -> str:
    """As kubectl's ages: `42s`, `7m`, `5h`, `12d`."""
    left = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if left >= 2 * size or (unit == "d" and left >= 36 * 3600):
            return f"{left // size}{unit}"
    return f"{left}s"
