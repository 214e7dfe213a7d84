"""What happens when one of our packet rules is gone: the pod turns not ready, and what leaves it is closed.

Each rule is deleted on its own, in pods made for that, several at a time: one pod waits up to a probe's patience for each rule.
"""

import copy
import math
import re
from collections.abc import Awaitable, Callable

import trio

from injector.demo.outside import HOSTS
from injector.demo.world import World
from sidecar.intercept import (
    ANSWERS_UNTRACKED,
    DNS_UNTRACKED,
    KERNEL_UDP_GUARD,
    PASSED,
    PREFIX,
    SENDING_EXEMPTION,
    SENDING_GUARD,
    Line,
    own_lines,
)

from .check import Check, expect
from .leaving import API

PODS = 4
NOTICED_WITHIN_S = 12.0   # the captured port may go unasked for 6 s, and the kubelet asks twice
READY_AGAIN_WITHIN_S = 15.0
OPEN_AGAIN_WITHIN_S = 5.0
TOOLS = ("iptables", "ip6tables")

# No sidecar tests these. The first stands against sockets of the kernel that a process without capabilities cannot even ask for; without
# the others a query may go where an older flow of its port went, to the guard or nowhere, and nothing gets past the filter.
NOT_TESTED = frozenset({KERNEL_UDP_GUARD, DNS_UNTRACKED, ANSWERS_UNTRACKED})


async def every_rule(world: World) -> str:
    pods = await world.deploy(_spare(world))
    rules = {pod: await _rules(world, pod) for pod in pods}     # alike but for the sidecar's UID
    count = len(rules[pods[0]])
    everything = sum([len(own_lines(await world.netns(pods[0], f"{tool}-save"))) for tool in TOOLS])
    expect(count >= 2, "no rule of ours was found in the pod")

    async def work(pod: str, share: list[tuple[str, Line]]) -> None:
        for tool, line in share:
            trouble = await _delete_one(world, pod, tool, line)
            expect(not trouble, f"{_words(tool, line)}{trouble}")   # the first ends it: a rule that nobody misses takes its time

    async with trio.open_nursery() as nursery:
        for number, pod in enumerate(pods):
            nursery.start_soon(work, pod, rules[pod][number::len(pods)])
    for pod in pods:
        await world.kubelet.remove(pod)
        world.api.delete("Pod", "shop", pod)    # one that the cluster believes to live would be waited for when the root changes
    world.api.delete("Deployment", "shop", "spare")
    return (f"{count} rules, IPv4 and IPv6; each time the pod turned not ready and an approved host was out of reach; "
            f"{everything - count} left out that no sidecar tests")


async def _rules(world: World, pod: str) -> list[tuple[str, Line]]:
    """Ours that a sidecar tests, with the tool that lists them."""
    return [(tool, line) for tool in TOOLS for line in testable(own_lines(await world.netns(pod, f"{tool}-save")))]


_OWNER = re.compile(r"--uid-owner (\d+)(?:-(\d+))?")


def testable(lines: tuple[Line, ...]) -> list[Line]:
    """Without the rules that no sidecar tests, and those that it need not: what lets pass is missed by nobody. Of a guard over
    several ranges of users (a user namespace with sub-UIDs) that is every one but the range with the sidecar's own UID: it can send
    as nobody else.
    """
    owners = [_OWNER.search(line.spec) for line in lines if _why(line) == SENDING_EXEMPTION]
    own = int(owners[0][1]) if owners and owners[0] else 0   # by mark it runs as the only user there is

    def can_be_tested(line: Line) -> bool:
        found = _OWNER.search(line.spec)
        if _why(line) != SENDING_GUARD or found is None:
            return _why(line) not in NOT_TESTED and not _why(line).startswith(PASSED)
        return int(found[1]) <= own <= int(found[2] or found[1])

    return [line for line in lines if can_be_tested(line)]


async def _delete_one(world: World, pod: str, tool: str, line: Line) -> str:
    """Delete one rule, look, put everything back. Returns what was missing, or nothing."""
    saved = await world.netns(pod, f"{tool}-save")
    trouble = []
    if not await _within(OPEN_AGAIN_WITHIN_S, lambda: _until_open(world, pod, True)):
        return " (outbound was closed beforehand)"
    await world.netns(pod, f"{tool}-restore", "--noflush", text=f"*{line.table}\n-D {line.chain} {line.spec}\nCOMMIT\n")
    try:
        async def notice(wait: Callable[[], Awaitable[None]], otherwise: str) -> None:
            if not await _within(NOTICED_WITHIN_S, wait):
                trouble.append(otherwise)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(notice, lambda: _becomes(world, pod, is_ready=False), "the pod stayed ready")
            nursery.start_soon(notice, lambda: _until_open(world, pod, False), "outbound stayed open")
    finally:
        with trio.CancelScope(shield=True):
            await world.netns(pod, f"{tool}-restore", text=saved)
    if not await _within(READY_AGAIN_WITHIN_S, lambda: _becomes(world, pod, is_ready=True)):
        trouble.append("the pod stayed not ready after the rule was back")
    return f" ({', '.join(trouble)})" if trouble else ""


async def _within(seconds: float, wait: Callable[[], Awaitable[None]]) -> bool:
    with trio.move_on_after(seconds):
        await wait()
        return True
    return False


async def _becomes(world: World, pod: str, is_ready: bool) -> None:
    await world.kubelet.wait_until(pod, lambda found: found.is_ready == is_ready, math.inf)


async def _until_open(world: World, pod: str, is_open: bool) -> None:
    """Ask an approved host until it answers, or until it does not."""
    to = f"{HOSTS[API].addresses.ipv4}:80"
    while True:   # the client's own start is pause enough
        answer = await world.ask(pod, "http", "GET", f"http://{API}/", "--to", to, "--timeout", "2")
        if (answer["status"] == 200) == is_open:
            return


def _spare(world: World) -> dict[str, object]:
    """A Deployment like web, for pods whose rules may be broken."""
    found = world.api.get("Deployment", "shop", "web")
    assert found is not None
    spare = copy.deepcopy(found)
    del spare["metadata"]["uid"]
    spare["metadata"]["name"] = "spare"
    spare["spec"]["replicas"] = PODS
    spare["spec"]["template"]["metadata"]["labels"] = {"app": "spare"}
    return spare


def _words(tool: str, line: Line) -> str:
    return f"{'IPv6' if tool == 'ip6tables' else 'IPv4'}: {_why(line)}"


def _why(line: Line) -> str:
    """The rule's comment, as it was before `iptables-save` quoted it."""
    return line.spec.partition('--comment "')[2].partition('"')[0].replace("\\", "").removeprefix(PREFIX)


CHECKS = (
    Check("each packet rule that is deleted turns the pod not ready and closes what leaves it", every_rule),
)
