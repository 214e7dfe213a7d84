import pytest

from injector.audit.document import Bar, Column, Table, many, percent, plain, show, size, when


@pytest.mark.parametrize(("part", "whole", "expected"), [
    (1, 1, "100.00 %"), (99_999, 100_000, "99.99 %"), (10**12 - 1, 10**12, "99.99 %"), (0, 5, "0.00 %"), (0, 0, "–"), (1, 3, "33.33 %"),
])
def test_a_share_is_never_rounded_up(part: int, whole: int, expected: str) -> None:
    assert percent(part, whole) == expected


def test_a_bar_is_the_share_of_mtls() -> None:
    assert Bar(2, 1, 0, 1).percent == "75.00 %"
    assert Bar(0, 0, 0, 0).percent == "–"


@pytest.mark.parametrize(("text", "expected"), [
    ("plain é 漢", "plain é 漢"), ("\x1b[2J", "\\x1b[2J"), ("a\nb\rc\x00", "a\\nb\\rc\\x00"), ("\u202egpj", "\\u202egpj"),
    ("\x9b", "\\x9b"), ("\ud800", "\\ud800"),
])
def test_nothing_moves_the_cursor_or_turns_the_writing(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_numbers_for_people() -> None:
    assert [size(each) for each in (0, 999, 1000, 1_500_000, 2e9, 3e15)] == [
        "0 B", "999 B", "1.0 kB", "1.5 MB", "2.0 GB", "3,000.0 TB"]
    assert when(1_780_000_000.9) == "2026-05-28 20:26:40Z"
    assert when(0) == ""
    assert when(1e300) == when(float("nan")) == "beyond the calendar"
    assert (many(1, "path"), many(1200, "path")) == ("1 path", "1,200 paths")
    assert (show(1234, "count"), show(1234, "bytes"), show(None, "time"), show(1_780_000_000, "time")) == (
        "1,234", "1.2 kB", "", "2026-05-28 20:26:40")


def test_columns_that_tell_nothing_are_not_shown() -> None:
    columns = (Column("a"), Column("b", "tally"), Column("c", "tally"), Column("d", "wide"), Column("e", "wide"))
    assert Table("t", "T", columns, [["x", 0, 0, "", "why"], ["y", 0, 1, "", ""]]).shown() == ([0, 2], [4])
