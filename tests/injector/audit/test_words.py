from typing import Any

import pytest

from injector.audit.chains import Chain
from injector.audit.period import Period
from injector.audit.store import Ledger
from injector.audit.words import MOST_WARNINGS, integrity, span, state, warnings

WHOLE = Ledger("shop/web-1", lines=5)


def test_the_period_in_words() -> None:
    assert span(Period(1_780_000_000, 1_780_000_060)) == "2026-05-28 20:26:40Z to 2026-05-28 20:27:40Z"


@pytest.mark.parametrize(("fields", "said", "short"), [
    ({"breaks": 2, "broken_line": 7, "cause": "is wrong"}, "line 7 is wrong", "broken at line 7"),
    ({"is_cut": True, "cause": "lost its end"}, "does not hold: lost its end", "end cut off"),
    ({"is_rebuilt": True, "cause": "is another"}, "does not hold: is another", "written anew"),
    ({"foreign": 3}, "3 times for a workload of another namespace", "holds"),
    ({"shed": 12}, "1 ledger, entries were not written: 12", "holds"),
    ({"clock_jumps": 1}, "set 1 time under 1 ledger", "holds"),
])
def test_what_must_be_known_first(fields: dict[str, Any], said: str, short: str) -> None:
    ledger = Ledger("shop/web-1", **fields)
    [warning] = warnings([WHOLE, ledger])
    assert said in warning
    assert state(ledger) == short


def test_all_is_well() -> None:
    assert warnings([WHOLE], Chain("issuance.log")) == []


def test_other_chains_stand_first_and_few_are_named() -> None:
    broken = [Ledger(f"shop/web-{number}", breaks=1, broken_line=1) for number in range(MOST_WARNINGS + 5)]
    found = warnings(broken, Chain("issuance.log", breaks=1, broken_line=3))
    assert "issuance.log" in found[0]
    assert len(found) == MOST_WARNINGS + 1
    assert "6 more" in found[-1]


def test_what_needs_an_eye_stands_first() -> None:
    table = integrity([WHOLE, Ledger("b", shed=1), Ledger("c", breaks=1)])
    assert [row[0] for row in table.rows] == ["c", "b", "shop/web-1"]
