"""What a check is, and the few questions that many of them ask."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from injector.demo.errors import CheckFailed
from injector.demo.world import World

Object = dict[str, Any]
SETTLE_S = 0.3   # a packet that is on its way arrives within this, on one machine


@dataclass(frozen=True, slots=True)
class Check:
    """
    Args:
        name: what is shown, as a sentence.
        run: returns what was seen; raises CheckFailed.
    """

    name: str
    run: Callable[[World], Awaitable[str]]


def expect(holds: object, text: str) -> None:
    if not holds:
        raise CheckFailed(text)


def brief(answer: Object) -> str:
    """An answer of the demo's client in one line."""
    reason = answer.get("headers", {}).get("x-bartizan-reason", "")
    return answer.get("error") or f"{answer['status']} {reason}".rstrip()


def expect_status(answer: Object, status: int) -> None:
    expect(answer["status"] == status, f"expected {status}, got {brief(answer)}: {answer['body'][:300]}")


def expect_refusal(answer: Object, status: int, code: str) -> str:
    """Expect our refusal with a reason. Returns it in one line."""
    reason = answer["headers"].get("x-bartizan-reason", "")
    expect(answer["status"] == status and reason.startswith(f"{code} "), f"expected {status} {code}, got {brief(answer)}")
    return brief(answer)


async def expect_nothing_at(world: World, host: str, since: float) -> None:
    """Expect that not even a connection reached a host of the outside."""
    await trio.sleep(SETTLE_S)
    arrived = world.arrivals(host, since)
    expect(not arrived, f"{host} got {len(arrived)} things; the first: {arrived[:1]}")
