"""What was done to a chain, told from what is left of it."""

import pytest

from injector.audit.breaks import explain
from sidecar.model.chain import FIRST, hash_of
from tests.injector.test_collect import chain_of

LINES = chain_of(6)
HEADS = [FIRST, *(hash_of(line[:-1]) for line in LINES)]
CHANGED = LINES[2].replace(b"x2", b"xx")


@pytest.mark.parametrize(("lines", "at", "missing", "line", "cause"), [
    ([*LINES[:2], CHANGED, *LINES[3:]], 3, 0, 3, "was changed"),
    ([*LINES[:2], CHANGED, *LINES[3:]], 3, None, 4, "that one was changed, or lines between them are gone"),
    ([*LINES[:2], *LINES[3:]], 2, 1, 3, "1 lines between them are gone"),
    (LINES[2:], 0, 2, 1, "2 lines between them are gone"),
    ([*LINES[:3], LINES[1], *LINES[3:]], 3, -1, 4, "is a copy of line 2"),
    ([*LINES[:2], LINES[3], LINES[2], *LINES[4:]], 2, 0, 3, "line 4 is what follows"),
    ([*LINES[:2], LINES[4], *LINES[2:4], LINES[5]], 2, 0, 3, "was moved here or put in: line 4"),
    ([*LINES[:2], chain_of(1)[0], *LINES[2:]], 2, -1, 3, "is a copy of line 1"),
    ([*LINES[:2], chain_of(1, word="y")[0], *LINES[2:]], 2, -1, 3, "was moved here or put in"),
    ([*LINES[:4], b"\xff\n", *LINES[5:]], 5, -1, 6, "1 lines too many"),
])
def test_what_was_done(lines: list[bytes], at: int, missing: int | None, line: int, cause: str) -> None:
    found = explain(lines, at, hash_of(lines[at - 1][:-1]) if at else FIRST, missing)
    assert found.line == line
    assert cause in found.cause
