"""How much the edge may hold altogether: a snapshot is taken whole or not at all, and everybody's rules are in it.

Beyond that whoever says the most is not in force, as a namespace: its hosts stay its own and answer 503. Of a namespace nothing is left
out by itself, for the rule that is left out could be the one that asks who a client is, before a wider one that asks nobody.

Trust: any namespace may say as much as the cluster stores, and a long annotation holds for each rule of its object. What one says too much
costs nobody else their rules, nor the news of their pods.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from sidecar.model.edge import EdgeRoute
from sidecar.model.route import DirectResponse

from .edge_rule import ANYBODY
from .said import Said

MOST_EDGE_BYTES = 5120 * 1024       # of the sidecar's MAX_ANSWER_BYTES; the rest is for the Services that it leads to
TOO_MUCH = DirectResponse(503, "there are more rules than a gateway can hold\n")


def fitting(saids: Sequence[Said], most: int = MOST_EDGE_BYTES) -> tuple[list[Said], frozenset[str]]:
    """What they say, and the namespaces of which nothing is in force, since it was more than `most` bytes; their objects are told."""
    closed, over = _shortened(saids, _closed, most)
    silent, worse = _shortened(closed, _silent, most)
    return silent, over | worse


def _shortened(saids: Sequence[Said], shorten: Callable[[Said, str], Said], most: int) -> tuple[list[Said], frozenset[str]]:
    sizes: Counter[str] = Counter()
    for said in saids:
        sizes[said.namespace] += _size(said, most)
    total, over = sizes.total(), set[str]()
    for size, namespace in sorted(((size, namespace) for namespace, size in sizes.items()), reverse=True):
        if total <= most:
            break
        over.add(namespace)
        total -= size
    return [shorten(said, _why(said.namespace, most)) if said.namespace in over else said for said in saids], frozenset(over)


def _size(said: Said, most: int) -> int:
    """In a snapshot; counted until it is more than `most`."""
    total = 0
    for part in (*said.routes, *said.tls, *said.access.items(), *said.issuers, said.default):
        total += len(msgspec.json.encode(part))
        if total > most:
            break
    return total


def _why(namespace: str, most: int) -> str:
    return (f"all that gateways serve has more than {most:,} bytes, and namespace {namespace} says the most: nothing of it is in force; "
            "make its rules fewer, or shorter what its annotations say of each")


def _closed(said: Said, why: str) -> Said:
    """Its hosts, and an answer for all of them."""
    hosts: dict[int, dict[str, None]] = {}
    for route in said.routes:
        for port in route.ports:
            hosts.setdefault(port, {}).update(dict.fromkeys(route.hosts or ("",)))
    kind, namespace, name = said.ref
    routes = [
        EdgeRoute(f"{kind.lower()}/{namespace}/{name}/{part}-{port}", ANYBODY, ports=(port,), hosts=some, direct_response=TOO_MUCH)
        for port, found in hosts.items()
        for part, some in (("closed", tuple(filter(None, found))), ("closed-every", ()))
        if some or (part == "closed-every" and "" in found)
    ]
    return replace(said, routes=tuple(routes), access={}, issuers=(), default=None, problems=(*said.problems, why))


def _silent(said: Said, why: str) -> Said:
    """Where certificates or the very names of its hosts are too much."""
    problems = said.problems if why in said.problems else (*said.problems, why)
    return Said(said.ref, said.created, problems=problems)
