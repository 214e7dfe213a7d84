"""The tests of this folder run on real sockets with the real clock: each ends within ten seconds, or fails.

The few that have no socket and a virtual clock say so by its fixture."""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
import trio

WITHIN_S = 10.0


def _in_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(test)
    async def timed(**fixtures: Any) -> None:
        with trio.fail_after(WITHIN_S):
            await test(**fixtures)

    return timed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function) or item.path.parent != Path(__file__).parent or not iscoroutinefunction(item.obj):
            continue
        if not {"autojump_clock", "mock_clock"} & set(item.fixturenames):
            item.obj = _in_time(item.obj)
