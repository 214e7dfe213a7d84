"""A document for a terminal: aligned columns, sentences below their rows."""

import textwrap
from collections.abc import Iterator

from .document import MOST_ROWS, Document, Table, show

WIDTH = 110
NUMBERS = ("count", "tally", "bytes", "share")


def as_text(document: Document) -> str:
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    for warning in document.warnings:
        yield from textwrap.wrap(warning, WIDTH, initial_indent="WARNING  ", subsequent_indent="         ")
    yield from textwrap.wrap(document.verdict, WIDTH)
    yield f"{document.title}, {document.period}"
    for table in document.tables:
        if table.rows or table.empty:
            yield ""
            yield table.title.upper()
            yield from _table(table) if table.rows else [f"  {table.empty}"]


def _table(table: Table) -> Iterator[str]:
    beside, below = table.shown()
    cells = [[table.columns[i].title.lower() for i in beside]]
    cells += [[show(row[i], table.columns[i].kind) for i in beside] for row in table.rows[:MOST_ROWS]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(beside))]
    for number, row in enumerate(cells):
        yield "  " + "  ".join(
            text.rjust(width) if table.columns[i].kind in NUMBERS else text.ljust(width)
            for i, text, width in zip(beside, row, widths, strict=True)
        ).rstrip()
        for i in below if number else ():
            if text := show(table.rows[number - 1][i], "wide"):
                label = f"      {table.columns[i].title.lower():<6} "
                yield from textwrap.wrap(text, WIDTH, initial_indent=label, subsequent_indent=" " * len(label))
    if len(table.rows) > MOST_ROWS:
        yield f"  and {len(table.rows) - MOST_ROWS:,} more; -o json has them, and so has -o csv --table {table.name}"
