"""One table for a spreadsheet.

Trust: cells hold what strangers chose, a host name for one, and a spreadsheet runs what begins as a formula. What leaves is text to it.
`tests/injector/audit/test_as_csv.py` attacks it.
"""

import csv
import io

from .document import Bar, Cell, Table, plain, when

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.title for column in table.columns)
    for row in table.rows:
        writer.writerow(_cell(cell, column.kind == "time") for cell, column in zip(row, table.columns, strict=True))
    return out.getvalue()


def _cell(cell: Cell, is_time: bool) -> str:
    """Numbers are as exact as they are; shares are percent without the sign."""
    if isinstance(cell, Bar):
        return cell.percent.removesuffix(" %") if cell.whole else ""
    if isinstance(cell, str):
        text = plain(cell)
        # Some readers strip white space first.
        return f"'{text}" if text.lstrip().startswith(FORMULA) else text
    if cell is None:
        return ""
    return when(cell) if is_time else str(cell)
