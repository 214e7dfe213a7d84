"""The ledger recounted: what was collected against what application, outside hosts and clients counted, allowed and denied, exactly."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from injector.demo import settings
from injector.demo.checks.identity import EVENTS
from injector.demo.checks.leaving import API, MUTUAL, NO_SECRET, UNAPPROVED, WRONG
from injector.demo.checks.mesh import ALLOWED, ORDERS, WEB
from injector.demo.outside import HOSTS
from injector.demo.world import World, json_lines
from tests.helpers.demo_world import play

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

STORE = settings.STATE / "ledger"
PODS = ("web", "thief", "orders")    # callers first: their connections end, and are told of, at both ends
GRACE_S = 30.0
ORDERS_URL = "http://orders"


def _at(host: str, port: int) -> str:
    return f"{HOSTS[host].addresses.ipv4}:{port}"


# (pod, how often, words of the demo's client)
ASKED: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("web", 12, ("http", "GET", ALLOWED)),
    ("web", 5, ("http", "POST", f"{ORDERS_URL}/uploads/1", "--body", "x" * 1000)),
    ("web", 3, ("http", "GET", f"{ORDERS_URL}/v1/orders/7")),           # redirected: the application is not asked
    ("web", 2, ("http", "GET", f"{ORDERS_URL}/flaky/1")),               # asked twice the first time
    ("web", 6, ("http", "GET", f"{ORDERS_URL}/metered", "--header", "x-tenant:a")),     # two of them
    ("web", 5, ("http", "DELETE", ALLOWED)),
    ("web", 4, ("http", "GET", f"{ORDERS_URL}/admin")),
    ("thief", 7, ("http", "GET", ALLOWED)),
    ("web", 3, ("websocket", EVENTS, "--body", "text")),
    ("web", 8, ("http", "GET", f"http://{API}/a")),
    ("web", 4, ("http", "GET", f"https://{API}/b")),
    ("web", 3, ("http", "GET", f"http://{MUTUAL}/c")),
    ("web", 5, ("http", "GET", f"http://{UNAPPROVED}/", "--to", _at(UNAPPROVED, 80))),
    ("web", 3, ("http", "GET", f"https://{UNAPPROVED}/", "--to", _at(UNAPPROVED, 443))),
    ("web", 2, ("http", "GET", f"http://{WRONG}/")),
    ("web", 2, ("http", "GET", f"http://{NO_SECRET}/")),
)


async def recount(world: World) -> dict[str, Any]:
    answers: list[tuple[str, str, str]] = []    # pod, host, status or reason

    async def ask(pod: str, count: int, words: tuple[str, ...]) -> None:
        (url,) = (word for word in words if "://" in word)
        for _ in range(count):
            answer = await world.ask(pod, *words)
            reason = answer.get("headers", {}).get("x-bartizan-reason", "").partition(" ")[0]
            answers.append((pod, urlsplit(url).netloc, reason or str(answer["status"])))

    plaintext = ("http", "GET", ALLOWED, "--to", f"{world.address('orders')}:8080")
    async with trio.open_nursery() as nursery:
        for asked in (*ASKED, ("legacy", 6, plaintext)):
            nursery.start_soon(ask, *asked)
    load = await world.ask("web", "load", ALLOWED, "--per-second", "200", "--seconds", "2")
    answers += [("web", "orders", status) for status, count in load["statuses"].items() for _ in range(count)]
    for pod in PODS:
        await world.kubelet.pod(pod).running[settings.SIDECAR].stop(GRACE_S)
    collected = {}
    for pod in PODS:
        (path,) = STORE.glob(f"*/*.{world.kubelet.pod(pod).uid}.jsonl")
        collected[pod] = json_lines(path)
    audit = await world.bartizan("audit", "mtls", "--store", str(STORE), "-o", "json")
    return {
        "answers": answers, "load": load, "collected": collected, "audit": json.loads(audit.out)["report"],
        "application": [item["request"] for item in json_lines(world.kubelet.log("orders", "orders")) if "request" in item],
        "outside": {host: [item["event"] for item in world.arrivals(host, 0) if item["client"] in world.kubelet.pod("web").addresses.both()]
                    for host in HOSTS},
    }


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    found = play(recount)
    assert found["load"]["failures"] == []
    for lines in found["collected"].values():
        assert Counter(line["kind"] for line in lines)["end"] == 1      # ended in order, and shipped to its last line
        assert all(line["kind"] != "shed" for line in lines)
    return found


def _lines(seen: dict[str, Any], pod: str, kind: str, **holds: str) -> list[dict[str, Any]]:
    lines = [line for line in seen["collected"][pod] if line["kind"] == kind]
    return [line for line in lines if all(line.get(name, "") == value for name, value in holds.items())]


def _requests(lines: Iterable[dict[str, Any]]) -> int:
    return sum(line.get("requests", 0) for line in lines)


def _answered(seen: dict[str, Any], pod: str, host: str = "") -> Counter[str]:
    return Counter(said for asking, asked, said in seen["answers"] if asking == pod and host in ("", asked))


def test_what_was_allowed_in_the_mesh(seen: dict[str, Any]) -> None:
    """Each exchange once at the caller's sidecar; at the destination's also what was asked again, and what that answered by itself."""
    answered = _answered(seen, "web", "orders")
    carried = answered["101"] + answered["200"] + answered["308"]
    asked = sum("/healthz" not in line for line in seen["application"])
    again = sum("/flaky/1" in line for line in seen["application"]) - 2
    assert (again, answered["308"], answered["101"]) == (1, 3, 3)
    assert _requests(_lines(seen, "web", "connection", peer=ORDERS)) == carried
    assert _requests(_lines(seen, "orders", "connection", peer=WEB)) == carried + again == asked + answered["308"]
    assert _requests(_lines(seen, "orders", "connection")) == carried + again


def test_what_was_denied(seen: dict[str, Any]) -> None:
    """By code; what the destination refuses is told by both ends, but for a caller without sidecar."""
    refused = {
        pod: Counter({said: count for said, count in _answered(seen, pod).items() if said.startswith("BZ")})
        for pod in ("web", "thief", "legacy")
    }
    assert refused["web"] == {"BZ0101": 9, "BZ0106": 4, "BZ0201": 5, "BZ0203": 2, "BZ0206": 2}
    assert (refused["thief"], refused["legacy"]) == ({"BZ0102": 7}, {"BZ0103": 6})
    told = {pod: Counter(line["code"] for line in _lines(seen, pod, "refusal")) for pod in PODS}
    sealed = _answered(seen, "web", UNAPPROVED)["0"]    # TLS, in which nobody can be told a reason
    assert sealed == 3
    assert told["web"] == refused["web"] + Counter({"BZ0201": sealed})
    assert told["thief"] == refused["thief"]
    assert told["orders"] == {"BZ0101": 9, "BZ0106": 4, "BZ0102": 7, "BZ0103": 6}


def test_external_hosts(seen: dict[str, Any]) -> None:
    """As many connections as the host saw, and as many requests, where they were the sidecar's to see."""
    for host in (API, MUTUAL):
        originated, passed = (_lines(seen, "web", "connection", host=host, security=how) for how in ("tls", "passthrough"))
        outside = Counter(seen["outside"][host])
        assert outside["connect"] == outside["tls"] == len(originated) + len(passed)
        assert outside["request"] == _requests(originated) + len(passed) == _answered(seen, "web", host)["200"]
    assert len(_lines(seen, "web", "connection", host=API, security="passthrough")) == 4
    for host in (UNAPPROVED, NO_SECRET):
        assert seen["outside"][host] == []
    assert "request" not in seen["outside"][WRONG]
    assert {line.get("host") for line in _lines(seen, "web", "connection")} == {None, API, MUTUAL}


def test_both_ends_tell_of_every_connection(seen: dict[str, Any]) -> None:
    report = seen["audit"]
    ours = [line for pod in ("web", "thief") for line in _lines(seen, pod, "connection", peer=ORDERS)]
    theirs = _lines(seen, "orders", "connection")
    bytes_of = {line["id"]: (line["sent"], line["received"]) for line in ours}
    assert bytes_of == {line["id"]: (line["received"], line["sent"]) for line in theirs}
    assert len({line["id"] for line in ours}) == len(ours) == len(theirs) == report["total"]["bothEnds"] == report["total"]["connections"]
    assert (report["oneSided"], report["contradictions"], report["silent"]) == ([], [], 0)
