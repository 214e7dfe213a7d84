"""A report as people read it: a verdict, warnings, figures, and tables of typed cells. Every rendering is made from this one value."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

MOST_ROWS = 1000    # that people are shown of one table; csv and json have them all


class Bar(NamedTuple):
    """Connections by how they are proved: from both ends, otherwise mTLS, mTLS unproved or contradicted, not mTLS."""

    good: int
    fair: int
    poor: int
    bad: int

    @property
    def whole(self) -> int:
        return sum(self)

    @property
    def percent(self) -> str:
        return percent(self.good + self.fair, self.whole)


Cell = str | int | float | Bar | None
# `wide`: a sentence, which stands below its row; `tally`: a count, whose column is not shown to people if all are 0.
Kind = Literal["text", "code", "wide", "count", "tally", "bytes", "time", "share"]


class Column(NamedTuple):
    title: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """
    Args:
        name: by which `--table` knows it.
        note: what it shows; stands below its title.
        empty: what is said instead of no rows; empty: the table is left out.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    empty: str = ""

    def shown(self) -> tuple[list[int], list[int]]:
        """The columns for people: (those beside each other, those below)."""
        def has_any(i: int) -> bool:
            return any(row[i] for row in self.rows)

        beside = [
            i for i, column in enumerate(self.columns)
            if column.kind != "wide" and (column.kind != "tally" or has_any(i))
        ]
        return beside, [i for i, column in enumerate(self.columns) if column.kind == "wide" and has_any(i)]


@dataclass(frozen=True, slots=True)
class Document:
    """
    Args:
        verdict: the whole report in one sentence.
        headline: its one figure.
        warnings: what a reader must know before believing the rest.
        tables: the first is what csv shows.
        about: (heading, text) for who has to judge the evidence.
    """

    title: str
    period: str
    headline: str
    verdict: str
    is_good: bool
    warnings: Sequence[str]
    figures: Sequence[tuple[str, str]]
    tables: Sequence[Table]
    about: Sequence[tuple[str, str]] = field(default=())
    bar: Bar | None = None


def show(cell: Cell, kind: Kind) -> str:
    """The cell for people."""
    if isinstance(cell, Bar):
        return cell.percent
    if cell is None or isinstance(cell, str):
        return plain(cell or "")
    if kind == "time":
        return when(cell).removesuffix("Z")
    if kind == "bytes":
        return size(cell)
    return f"{cell:,}"


def plain(text: str) -> str:
    """The text without what moves a terminal's cursor, breaks a line, or turns the direction of writing: such characters are spelt."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text)


def many(number: int, word: str) -> str:
    """`1 ledger`, `2 ledgers`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def percent(part: int, whole: int) -> str:
    """Never rounded up: 100.00 % means all."""
    if not whole:
        return "–"
    hundredths = part * 10_000 // whole
    return f"{hundredths // 100}.{hundredths % 100:02} %"


def size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def when(time: float) -> str:
    """UTC, to the second; empty for 0, which is no time that anything was recorded at."""
    if not time:
        return ""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "beyond the calendar"
