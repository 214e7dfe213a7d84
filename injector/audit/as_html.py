"""One self-contained page to hand to an auditor: no script, nothing fetched, light and dark, fit to print.

Trust: names, hosts and details were chosen by strangers; every text is escaped, and the page's own policy lets nothing run or load.
`tests/injector/audit/test_as_html.py` attacks it.
"""

from collections.abc import Iterator
from html import escape

from .document import MOST_ROWS, Bar, Cell, Column, Document, Table, plain, show

NUMBERS = ("count", "tally", "bytes")
PARTS = (
    ("good", "mTLS, proved from both ends"),
    ("fair", "mTLS, told by one end or doubtful"),
    ("poor", "contradictory, or the application's own TLS"),
    ("bad", "plaintext"),
)
STYLE = """
:root { --ink: #16211f; --soft: #5b6a67; --line: #d9dfdd; --paper: #fff; --wash: #f4f6f5; --good: #1f6f5c; --fair: #8cbfae; --poor: #d9a441;
  --bad: #b3372f; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4eae8; --soft: #9aa8a4; --line: #33403d; --paper: #131a18; --wash: #1b2422;
  --good: #4fb496; --fair: #2c6a59; --poor: #d0a04a; --bad: #e0655b; } }
* { box-sizing: border-box; }
html { background: var(--wash); }
body { margin: 0 auto; max-width: 76rem; padding: 3rem 3.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; justify-content: space-between; align-items: flex-start; gap: 2rem; border-bottom: 2px solid var(--ink);
  padding-bottom: 1.25rem; }
header svg { width: 2.6rem; height: 2.6rem; fill: var(--ink); flex: none; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 .35rem; font-weight: 650; }
h2 { font-size: 1.15rem; letter-spacing: -.005em; margin: 2.75rem 0 .25rem; font-weight: 650; break-after: avoid; }
h3 { font-size: .95rem; margin: 1.1rem 0 .1rem; font-weight: 650; }
p { margin: .25rem 0 .75rem; max-width: 52rem; }
.soft, .note { color: var(--soft); }
.note { margin-top: 0; }
.verdict { display: grid; grid-template-columns: auto 1fr; gap: 1.75rem; align-items: center; margin: 1.75rem 0 1.25rem; }
.verdict b { font-size: 2.9rem; line-height: 1; letter-spacing: -.03em; font-weight: 650; color: var(--good); white-space: nowrap; }
.verdict.is-bad b { color: var(--bad); }
.verdict p { margin: 0; font-size: 1.05rem; }
.warnings { border-left: 4px solid var(--bad); background: var(--wash); padding: .8rem 1.2rem; margin: 1.5rem 0; break-inside: avoid; }
.warnings h2 { margin: 0 0 .25rem; font-size: 1rem; color: var(--bad); }
.warnings ul { margin: 0; padding-left: 1.1rem; }
.figures { display: flex; flex-wrap: wrap; margin: 1.5rem 0 0; border-top: 1px solid var(--line); border-left: 1px solid var(--line); }
.figures div { flex: 1 1 22%; min-width: 9rem; border-right: 1px solid var(--line); border-bottom: 1px solid var(--line); padding:
  .7rem .9rem; }
.figures dt { color: var(--soft); font-size: .82rem; line-height: 1.3; }
.figures dd { margin: .1rem 0 0; font-size: 1.3rem; font-weight: 600; letter-spacing: -.01em; }
.bar { display: flex; height: .55rem; min-width: 6rem; background: var(--line); overflow: hidden; border-radius: 2px; }
.bar i { display: block; min-width: 2px; }
.bar.is-large { height: 1rem; margin: 1rem 0 .5rem; }
i.good { background: var(--good); } i.fair { background: var(--fair); }
i.poor { background: var(--poor); } i.bad { background: var(--bad); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; font-size: .85rem; color: var(--soft); padding: 0; margin: 0;
  list-style: none; }
.legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .45rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; margin-top: .6rem; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .8rem; line-height: 1.3; vertical-align: bottom;
  border-bottom: 1.5px solid var(--ink); }
th, td { padding: .42rem .8rem .42rem 0; }
th:last-child, td:last-child { padding-right: 0; }
td { border-top: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word; max-width: 22rem; }
tbody { break-inside: avoid; }
.number { text-align: right; white-space: nowrap; }
td.time { white-space: nowrap; font-size: .8rem; }
td.code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
.share { min-width: 8rem; white-space: nowrap; }
.more td { max-width: none; overflow-wrap: anywhere; border-top: 0; padding-top: 0; color: var(--soft); }
.more b { color: var(--ink); font-weight: 600; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .75rem; color: var(--soft); font-size: .82rem; }
@media (max-width: 48rem) { body { padding: 1.5rem 1rem; } .verdict { grid-template-columns: 1fr; gap: .5rem; } }
@media print { :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --wash: #fff; --good: #1f6f5c; --fair: #8cbfae;
  --poor: #d9a441; --bad: #b3372f; color-scheme: light; }
  @page { margin: 16mm 14mm; } body { padding: 0; max-width: none; font-size: 10pt; }
  .scroll { overflow: visible; } table { font-size: 8pt; } td.time { font-size: 7pt; white-space: normal; } * { print-color-adjust:
  exact; -webkit-print-color-adjust: exact; } }
"""
TURRET = ('<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 2h4v3h2V2h4v3h2V2h4v9l-2 2v4l-6 5-6-5v-4l-2-2z'
          'M11 12h2v5h-2z" fill-rule="evenodd"/></svg>')


def as_html(document: Document) -> str:
    return "\n".join(_page(document)) + "\n"


def _page(document: Document) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_text(document.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    yield f"<header><div><h1>{_text(document.title)}</h1>\n<div class=soft>{_text(document.period)}</div></div>{TURRET}</header>"
    if document.warnings:
        items = "".join(f"<li>{_text(warning)}</li>" for warning in document.warnings)
        yield f'<section class="warnings"><h2>Read this first</h2><ul>{items}</ul></section>'
    yield (f'<section class="verdict{"" if document.is_good else " is-bad"}"><b>{_text(document.headline)}</b>'
           f"<p>{_text(document.verdict)}</p></section>")
    if document.bar is not None and document.bar.whole:
        yield _bar(document.bar, is_large=True)
        yield '<ul class="legend">' + "".join(f'<li><i class="{name}"></i>{meaning}</li>' for name, meaning in PARTS) + "</ul>"
    yield '<dl class="figures">'
    for label, value in document.figures:
        yield f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>"
    yield "</dl>"
    for table in document.tables:
        if table.rows or table.empty:
            yield from _section(table)
    if document.about:
        yield "<section><h2>How this evidence was made, and how to check it</h2>"
        for heading, text in document.about:
            yield f"<h3>{_text(heading)}</h3><p>{_text(text)}</p>"
        yield "</section>"
    yield "<footer>Made by bartizan audit from the ledgers that the sidecars wrote. Times are UTC.</footer>\n</body>\n</html>"


def _section(table: Table) -> Iterator[str]:
    yield f"<section><h2>{_text(table.title)}</h2>"
    if table.note:
        yield f'<p class="note">{_text(table.note)}</p>'
    if not table.rows:
        yield f"<p>{_text(table.empty)}</p></section>"
        return
    beside, below = table.shown()
    head = "".join(f'<th scope="col" class="{_class(table.columns[i])}">{_text(table.columns[i].title)}</th>' for i in beside)
    yield f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
    for row in table.rows[:MOST_ROWS]:
        cells = "".join(f'<td class="{_class(table.columns[i])}">{_cell(row[i], table.columns[i])}</td>' for i in beside)
        more = " ".join(f"<b>{_text(table.columns[i].title)}</b> {_cell(row[i], table.columns[i])}" for i in below if row[i])
        yield f"<tbody><tr>{cells}</tr>" + (f'<tr class="more"><td colspan="{len(beside)}">{more}</td></tr>' if more else "") + "</tbody>"
    yield "</table></div>"
    if len(table.rows) > MOST_ROWS:
        yield f"<p class=note>And {len(table.rows) - MOST_ROWS:,} more, which the JSON form holds.</p>"
    yield "</section>"


def _class(column: Column) -> str:
    return "number" if column.kind in NUMBERS else column.kind


def _cell(cell: Cell, column: Column) -> str:
    if isinstance(cell, Bar):
        return _bar(cell, is_large=False) + _text(cell.percent)
    return _text(show(cell, column.kind))


def _bar(bar: Bar, *, is_large: bool) -> str:
    """Widths are whole parts of what there is; a part that is not nothing can be seen, however small."""
    parts = "".join(
        f'<i class="{name}" style="flex-grow:{count}" title="{count:,} {meaning}"></i>'
        for count, (name, meaning) in zip(bar, PARTS, strict=True) if count
    )
    return f'<div class="bar{" is-large" if is_large else ""}">{parts}</div>'


def _text(text: str) -> str:
    return escape(plain(text))
