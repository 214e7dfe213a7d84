"""Nothing that a stranger chose is markup; the page loads nothing, runs nothing, and is well-formed."""

from html.parser import HTMLParser

import pytest

from injector.audit.as_html import as_html
from injector.audit.document import MOST_ROWS, Bar, Column, Document, Table

VOID = {"meta", "path"}
ATTACKS = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</style><script>", "</title><script>",
    "<!--", "]]>", "javascript:alert(1)", "\x00<b>", "\u202e<i>", "{{7*7}}", "&lt;script&gt;",
)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def document(text: str, rows: int = 1) -> Document:
    columns = (Column(text), Column(text, "code"), Column("mTLS", "share"), Column("Count", "count"), Column(text, "wide"))
    return Document(
        text, text, text, text, False, [text], [(text, text)],
        [Table(text, text, columns, [(text, text, Bar(1, 2, 0, 1), 1, text)] * rows, note=text), Table("e", text, columns, (), empty=text)],
        [(text, text)], Bar(1, 0, 0, 1),
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_text_is_escaped(attack: str) -> None:
    """The same tags as for a harmless text, in every place where a text can stand."""
    harmless, attacked = Page(as_html(document("harmless"))), Page(as_html(document(attack)))
    assert attacked.tags == harmless.tags
    assert attacked.attributes == harmless.attributes
    assert attacked.open == []
    assert not {"script", "img", "iframe", "link", "object"} & set(attacked.tags)
    assert not {name for name in attacked.attributes if name.startswith("on") or name in ("src", "href")}


def test_it_is_one_file_that_fetches_nothing() -> None:
    page = as_html(document("x"))
    assert "http:" not in page
    assert "https:" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_a_bar_has_a_part_for_each_kind_that_is_there() -> None:
    page = as_html(document("x"))
    assert 'style="flex-grow:2"' in page
    assert "flex-grow:0" not in page
    assert "75.00 %" in page


def test_a_page_stays_small_enough_to_be_opened() -> None:
    page = as_html(document("x", MOST_ROWS + 3))
    assert page.count("<tbody>") == MOST_ROWS
    assert "And 3 more" in page
