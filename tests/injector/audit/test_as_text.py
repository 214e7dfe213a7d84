from injector.audit.as_text import WIDTH, as_text
from injector.audit.document import MOST_ROWS, Bar, Column, Document, Table

COLUMNS = (Column("Name"), Column("Count", "count"), Column("mTLS", "share"), Column("Cause", "wide"))


def document(*rows: tuple[str, int, Bar, str], warnings: tuple[str, ...] = ()) -> Document:
    tables = Table("rows", "Rows", COLUMNS, rows), Table("none", "None", COLUMNS, (), empty="Nothing."), Table("out", "Out", COLUMNS, ())
    return Document("Title", "then to now", "1", "All is well.", True, warnings, (), tables)


def test_the_whole_of_it() -> None:
    text = as_text(document(("web", 12345, Bar(1, 0, 0, 1), "because"), ("orders", 7, Bar(1, 0, 0, 0), ""), warnings=("Beware.",)))
    assert text == """\
WARNING  Beware.
All is well.
Title, then to now

ROWS
  name     count      mtls
  web     12,345   50.00 %
      cause  because
  orders       7  100.00 %

NONE
  Nothing.
"""


def test_sentences_are_wrapped() -> None:
    assert max(map(len, as_text(document(("web", 1, Bar(1, 0, 0, 0), "word " * 100))).splitlines())) <= WIDTH


def test_no_name_can_forge_a_line() -> None:
    text = as_text(document(("web\n\nROWS\x1b[1m", 1, Bar(1, 0, 0, 0), "\nWARNING  x")))
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith(("ROWS", "WARNING"))] == ["ROWS"]


def test_people_are_shown_so_many_rows() -> None:
    text = as_text(document(*[("web", 1, Bar(1, 0, 0, 0), "")] * (MOST_ROWS + 2)))
    assert "and 2 more; -o json has them, and so has -o csv --table rows" in text
