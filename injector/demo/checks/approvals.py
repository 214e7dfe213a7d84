"""What an approval says beyond the host's name: what may be asked, how much may be sent, and for how long it stands."""

import time

import trio

from injector.demo.outside import HOSTS, STREAM
from injector.demo.world import Object, World

from .check import SETTLE_S, Check, brief, expect, expect_refusal, expect_status
from .leaving import at, requests

POD, POLICY = "billing", "billing"
INVOICES, UPLOADS, WITHDRAWN = "invoices.partner.example", "uploads.partner.example", "withdrawn.partner.example"
BYTES_PER_HOUR = 98304      # 96KiB, as the policy says
AT_FIRST, TOO_MUCH = 1000, 120_000
ENDED_WITHIN_S = 5.0
OPEN_WITHIN_S = 5.0
LOOK_EVERY_S = 0.05


async def asked(world: World) -> str:
    began, seen = time.time(), []
    expect_status(await world.ask(POD, "http", "GET", f"http://{INVOICES}/v1/invoices/7"), 200)
    for method, path in (("DELETE", "/v1/invoices/7"), ("GET", "/v1/accounts"), ("GET", "/v1/invoices-all")):
        refusal = expect_refusal(await world.ask(POD, "http", method, f"http://{INVOICES}{path}"), 403, "BZ0210")
        seen.append(f"{method} {path}: {refusal}")
    sealed = await world.ask(POD, "http", "DELETE", f"https://{INVOICES}/v1/invoices/7")
    expect(sealed["status"] == 0, f"where the sidecar cannot see what is asked, it got {sealed['status']}")
    await trio.sleep(SETTLE_S)
    lines = [item["line"] for item in requests(world.arrivals(INVOICES, began))]
    expect(lines == ["GET /v1/invoices/7 HTTP/1.1"], f"the host saw {lines}")
    return f"GET /v1/invoices/7: 200; {'; '.join(seen)}; https:// does not pass; the host saw the first alone"


async def budget(world: World) -> str:
    began = time.time()
    expect_status(await world.ask(POD, "http", "POST", f"http://{UPLOADS}/", "--body", "x" * AT_FIRST), 200)
    cut = await world.ask(POD, "http", "POST", f"http://{UPLOADS}/", "--body", "x" * TOO_MUCH)
    await trio.sleep(SETTLE_S)
    got = sum(item["body"] for item in requests(world.arrivals(UPLOADS, began)))
    expect(AT_FIRST < got <= BYTES_PER_HOUR, f"the host got {got:,} bytes; the upload was answered {brief(cut)}")
    refusal = expect_refusal(await world.ask(POD, "http", "GET", f"http://{UPLOADS}/"), 429, "BZ0209")
    return f"of {AT_FIRST + TOO_MUCH:,} bytes the host got {got:,}, of {BYTES_PER_HOUR:,} that it may get in an hour; then: {refusal}"


async def withdrawn(world: World) -> str:
    """Three connections to the host: a kept one that waits for its next request, one in use, one of the application's own TLS."""
    began, took = time.time(), {}
    policy = world.api.get("EgressPolicy", "", POLICY) or {}
    hosts = [host for host in policy["spec"]["hosts"] if host["host"] != WITHDRAWN]

    async def stay(scheme: str) -> None:
        took[scheme] = (await world.ask(POD, "stay", f"{scheme}://{WITHDRAWN}{STREAM}", "--seconds", "20"))["at"]

    async with trio.open_nursery() as nursery:
        for scheme in ("http", "https"):
            nursery.start_soon(stay, scheme)
        await _seen(world, "request", 2, began, OPEN_WITHIN_S, "were not answered")
        expect_status(await world.ask(POD, "http", "GET", f"http://{WITHDRAWN}/"), 200)
        since = time.time()
        expect(not _events(world, "ended", began), "one had ended before")
        world.api.store({**policy, "spec": {**policy["spec"], "hosts": hosts}})
        try:
            ended = await _seen(world, "ended", 3, since, ENDED_WITHIN_S, "went on")
            to = at(HOSTS[WITHDRAWN].addresses.ipv4, 80)
            refusal = expect_refusal(await world.ask(POD, "http", "GET", f"http://{WITHDRAWN}/", "--to", to), 403, "BZ0201")
        finally:
            world.api.store(policy)
    for scheme, when in took.items():
        expect(when is not None and when - since <= ENDED_WITHIN_S, f"the application's connection by {scheme} went on")
    return f"the host saw all three end after {ended[-1]['at'] - since:.2f} s, and the application its two; a new request: {refusal}"


def _events(world: World, event: str, since: float) -> list[Object]:
    return [item for item in world.arrivals(WITHDRAWN, since) if item["event"] == event]


async def _seen(world: World, event: str, count: int, since: float, within_s: float, otherwise: str) -> list[Object]:
    """Wait until the host has seen so many."""
    found: list[Object] = []
    with trio.move_on_after(within_s):
        while len(found) < count:
            await trio.sleep(LOOK_EVERY_S)
            found = _events(world, event, since)
    expect(len(found) >= count, f"{count - len(found)} of {count} connections {otherwise} within {within_s:g} s")
    return found


CHECKS = (
    Check("a method or a path that the policy does not list is refused, and the host sees nothing of it", asked),
    Check("an upload beyond the bytes of an hour is cut, and the host gets no more than those", budget),
    Check("an approval that is withdrawn ends live connections within 5 s: kept, in use, passed through", withdrawn),
)
