"""The annotations and policies that approve just what was seen, as YAML to read, to change and to apply.

A policy approves the very hosts, addresses and ports that its workload was seen at, for that workload alone. What a person should
look at first stands beside it as a comment: plaintext, what is approved already, what was refused, names that could be one wildcard.

Trust: names come from ledgers; what gets here has passed `injector/egress/seen.py`, so that none can end a line or a comment.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from json import dumps

from injector.documents import API_VERSION, EGRESS
from sidecar.model.address import canonical
from sidecar.policy.egress import OBSERVED

from .seen import Place, Seen, Workload

MANY_NAMES = 5      # below one parent: with more, a comment suggests the wildcard


def propose(seen: Seen) -> str:
    """One pod with the annotation, and one policy, for each workload."""
    texts = ["\n".join(_workload(seen.workloads[identity], identity)) for identity in sorted(seen.workloads)]
    return "---\n".join(f"{text}\n" for text in texts)


def _workload(workload: Workload, identity: str) -> Iterator[str]:
    namespace, account = workload.namespace, workload.account
    places = [workload.places[name] for name in sorted(workload.places)]
    hosts, addresses = ([place for place in places if place.is_address is wanted] for wanted in (False, True))
    first, last = min(place.first for place in places), max(place.last for place in places)
    connections, sent = sum(place.connections for place in places), sum(place.sent for place in places)
    yield f"# {identity}"
    yield f"# {connections:,} connections from {_date(first)} to {_date(last)}, {sent:,} bytes sent."
    for parent, names in _alike(hosts):
        yield f"# {names} names below {parent}: if all of them may be reached, ask for and approve \"*.{parent}\" instead."
    yield "# The annotation belongs in the pod template of whatever runs as this service account."
    yield from (
        "apiVersion: v1", "kind: Pod", "metadata:", f"  name: {dumps(account)}", f"  namespace: {dumps(namespace)}", "  annotations:",
        f"    {EGRESS}: |",
    )
    yield from (f"      {line}" for place in hosts for line in _asked_host(place))
    yield from (f"      {line}" for place in addresses for line in _asked_range(place))
    yield from (
        "spec:", f"  serviceAccountName: {dumps(account)}", "  containers: []", "---",
        f"apiVersion: {API_VERSION}", "kind: EgressPolicy", "metadata:", f"  name: {dumps(f'{namespace}.{account}'[:253])}",
        "spec:", f"  subjects: [{{namespace: {dumps(namespace)}, serviceAccounts: [{dumps(account)}]}}]",
    )
    if hosts:
        yield "  hosts:"
        yield from (f"    {line}" for place in hosts for line in _approved_host(place))
    if addresses:
        yield "  ranges:"
        yield from (f"    - {{cidr: {dumps(_cidr(place))}, ports: {_list(place.tcp)}}}" for place in addresses)


# -- what the annotation asks for


def _asked_host(place: Place) -> Iterator[str]:
    yield from _remarks(place)
    plain, tls, tcp = _ports(place)
    if tcp and not plain and not tls:
        yield from (f"- host: {dumps(place.name)}", "  protocol: tcp", f"  ports: {{tcp: {_list(tcp)}}}")
        yield f"  tls: {{mode: {'none' if _is_plaintext(place) else 'simple'}}}"
    elif not plain:
        yield from (f"- host: {dumps(place.name)}", "  protocol: tls", f"  ports: {{tls: {_list(tls)}}}")
    else:
        yield from (f"- host: {dumps(place.name)}", f"  ports: {{plain: {_list(plain)}, tls: {_list(tls)}}}")
        if _is_plaintext(place):
            yield "  tls: {mode: none}"
            if place.tls:
                port = 443 if 443 in place.tls else min(place.tls)
                yield f"  # It speaks TLS, too, on port {port}. So rather have the sidecar speak it, and approve no plaintext:"
                yield f"  # tls: {{mode: simple, port: {port}}}"
        else:
            yield f"  tls: {{mode: simple, port: {place.tls_port or 443}}}"


def _asked_range(place: Place) -> Iterator[str]:
    yield from _remarks(place)
    if place.is_special:
        yield "# A private or otherwise special address: approve it only if you know what is there."
    yield f"- {{cidr: {dumps(_cidr(place))}, ports: {_list(place.tcp)}, protocol: tcp}}"


def _remarks(place: Place) -> Iterator[str]:
    approved = sorted(place.rules - {OBSERVED})
    if not place.rules:
        yield "# Refused whenever it was tried."
    elif approved:
        yield f"# Approved already by {', '.join(map(dumps, approved))}: what else that entry says is not known here; keep it."
    if both := place.plain & place.tls:
        yield f"# Port {_list(both)} was spoken to in plain HTTP, too, and a port is asked for as one or the other."
    if place.tcp and (place.plain or place.tls):
        yield f"# Port {_list(place.tcp)} was reached as TCP, which is not asked for together with HTTP."


# -- what the policy approves


def _approved_host(place: Place) -> Iterator[str]:
    plain, tls, tcp = _ports(place)
    ports = plain | tls or tcp
    protocols = [name for name, ports_of in (("http", plain), ("tls", tls)) if ports_of] or ["tcp"]
    if plain and not _is_plaintext(place):
        ports = ports | {place.tls_port or 443}
    yield f"- host: {dumps(place.name)}"
    yield f"  ports: {_list(ports)}"
    yield f"  protocols: [{', '.join(protocols)}]"
    if (plain or protocols == ["tcp"]) and _is_plaintext(place):
        yield "  allowPlaintext: true"


def _ports(place: Place) -> tuple[set[int], set[int], set[int]]:
    return place.plain - place.tls, place.tls, place.tcp


def _is_plaintext(place: Place) -> bool:
    """Whether it was let out as the application spoke. What was only ever refused is asked for with TLS."""
    return bool(place.rules) and place.tls_port is None


# -- words


def _alike(hosts: list[Place]) -> Iterator[tuple[str, int]]:
    """(parent, how many names are right below it)"""
    counts: dict[str, int] = {}
    for place in hosts:
        parent = place.name.partition(".")[2]
        counts[parent] = counts.get(parent, 0) + 1
    return ((parent, count) for parent, count in sorted(counts.items()) if count > MANY_NAMES and "." in parent)


def _cidr(place: Place) -> str:
    return f"{place.name}/{canonical(place.name).max_prefixlen}"


def _list(ports: set[int]) -> str:
    return f"[{', '.join(map(str, sorted(ports)))}]"


def _date(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%MZ")
