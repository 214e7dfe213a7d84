from typing import Any

import pytest
import trio

from injector.demo import checks
from injector.demo.checks import Check, run_checks
from injector.demo.errors import CheckFailed

NO_WORLD: Any = None


async def passes(world: object) -> str:
    return "200"


async def fails(world: object) -> str:
    async with trio.open_nursery():
        raise CheckFailed("expected 403, got 200")


async def hangs(world: object) -> str:
    await trio.sleep_forever()
    raise AssertionError


async def test_each_is_run_and_told(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    monkeypatch.setattr(checks, "CHECKS", (Check("a", passes), Check("b", fails)))
    monkeypatch.setattr(checks, "BESIDE", ((Check("c", hangs),),))
    told: list[checks.Result] = []
    results = await run_checks(NO_WORLD, told.append)
    assert results == told
    assert [(item.name, item.passed, item.detail) for item in results] == [
        ("a", True, "200"), ("b", False, "expected 403, got 200"), ("c", False, "it did not end in time")]


async def test_a_bug_in_a_check_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bug(world: object) -> str:
        raise AssertionError("bug")

    monkeypatch.setattr(checks, "CHECKS", (Check("a", bug),))
    monkeypatch.setattr(checks, "BESIDE", ())
    with pytest.raises(ExceptionGroup) as caught:
        await run_checks(NO_WORLD, lambda result: None)
    assert caught.group_contains(AssertionError)


def test_names_are_sentences_that_differ() -> None:
    names = [check.name for check in checks.EVERY]
    assert len(set(names)) == len(names)
