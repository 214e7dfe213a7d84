"""No cell of a stranger's is a formula, a row or a column of its own."""

import csv
import io

import pytest

from injector.audit.as_csv import FORMULA, as_csv
from injector.audit.document import Bar, Column, Table

COLUMNS = (Column("Host"), Column("Count", "count"), Column("When", "time"), Column("mTLS", "share"))


def rows(*cells: str) -> list[list[str]]:
    table = Table("t", "T", COLUMNS, [(cell, 12345, 1_780_000_000.0, Bar(2, 0, 0, 1)) for cell in cells])
    return list(csv.reader(io.StringIO(as_csv(table))))


def test_numbers_are_exact_and_times_are_utc() -> None:
    assert rows("a") == [["Host", "Count", "When", "mTLS"], ["a", "12345", "2026-05-28 20:26:40Z", "66.66"]]


@pytest.mark.parametrize("text", [
    "=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "  =1", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x","y")', "\u00a0=1",
])
def test_a_formula_is_text(text: str) -> None:
    [_, row] = rows(text)
    assert not row[0].lstrip().startswith(FORMULA)
    assert len(row) == 4


@pytest.mark.parametrize("text", ['a","b', "a\nb,c", "a\r\nb", "a;b", '"', "\x00"])
def test_a_cell_stays_in_its_cell(text: str) -> None:
    found = rows(text, "next")
    assert [len(row) for row in found] == [4, 4, 4]
    assert found[2][0] == "next"
