"""What is in force, what was kept, what is refused: as the compiler has it."""

from typing import Any

import pytest

from injector.cluster import Cluster
from injector.compile import compile_workload
from injector.compile.in_force import rules_of
from injector.compile.last_good import LastGood
from tests.injector.pods import egress_policy, namespace

GOOD = "- {name: a, allow: [{serviceAccount: web}]}\n"
BROKEN = "- {name: a, allow: [{serviceAccount: web}], prot: 3}\n"


def cluster(**annotations: str) -> Cluster:
    pod: dict[str, Any] = {
        "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1",
                                    "annotations": {f"bartizan.dev/{name}": text for name, text in annotations.items()}},
        "spec": {"initContainers": [{"name": "bartizan-sidecar"}]}, "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }
    return Cluster.of([namespace(), egress_policy(), pod])


def standing(now: Cluster, memory: LastGood) -> list[tuple[str, str]]:
    return [(rule.name, rule.standing) for rule in rules_of(now.pods_by_uid["u-1"], now, memory)]


@pytest.mark.parametrize(("annotations", "found"), [
    ({}, []),
    ({"routes": GOOD}, [("a", "in force")]),
    ({"routes": BROKEN}, [("a", "refused")]),
    ({"routes": GOOD + BROKEN.replace("name: a", "name: b")}, [("a", "in force"), ("b", "refused")]),
    ({"routes": "["}, [("", "refused")]),
    ({"egress": "[{host: api.partner.example}, {host: nobody.example}, {cidr: 192.0.2.0/24}]"},
     [("api.partner.example", "in force"), ("nobody.example", "refused"), ("192.0.2.0/24", "refused")]),
    ({"ports": "{5432: opaque, 80: x}"}, [("5432", "in force"), ("80", "refused")]),
    ({"endpoints": "{slowStart: 5s}"}, [("slowStart", "in force")]),
])
def test_each_entry_for_itself(annotations: dict[str, str], found: list[tuple[str, str]]) -> None:
    assert standing(cluster(**annotations), LastGood()) == found


@pytest.mark.parametrize(("name", "good", "broken"), [
    ("routes", GOOD, BROKEN), ("routes", GOOD, "["), ("ports", "{80: http2}", "{80: x}"),
    ("endpoints", "{slowStart: 5s}", "{slowStart: x}"),
    ("egress", "[{host: api.partner.example}]", "[{host: api.partner.example, tls: 3}]"),
])
def test_what_was_in_force_before_is_kept(name: str, good: str, broken: str) -> None:
    memory = LastGood()
    assert [one for _, one in standing(cluster(**{name: good}), memory)] == ["in force"]
    now = cluster(**{name: broken})
    assert [one for _, one in standing(now, memory)] == ["kept"]
    rule, = rules_of(now.pods_by_uid["u-1"], now, memory)
    assert rule.why


def test_it_says_what_the_compiler_does() -> None:
    memory = LastGood()
    for text in (GOOD + "- {name: b, allow: []}", BROKEN):
        now = cluster(routes=text)
        compiled = compile_workload(now, "u-1", "example.org", memory)
        assert compiled is not None
        names = [route.name for route in compiled.snapshot.inbound.routes or ()]
        assert names == [name for name, one in standing(now, memory) if one != "refused"]
