from typing import Any

import msgspec
import pytest

from injector.added import added_of, taken_back, words_of
from injector.cluster.objects import Pod
from injector.hardening import DROPPED, Level, additions

SECURITIES: list[dict[str, Any]] = [
    {}, {"capabilities": {"drop": ["NET_ADMIN"]}}, {"capabilities": {"drop": ["SYS_TIME", "NET_RAW"], "add": ["CHOWN"]}},
    {"capabilities": {"drop": ["ALL"]}}, {"capabilities": {"add": ["CHOWN"]}, "runAsUser": 3}, {"allowPrivilegeEscalation": True},
    {"seccompProfile": {"type": "Localhost"}, "allowPrivilegeEscalation": False},
]


@pytest.mark.parametrize("level", DROPPED)
@pytest.mark.parametrize("security", SECURITIES)
def test_what_was_added_is_taken_back_and_nothing_else(security: dict[str, Any], level: Level) -> None:
    container = {"name": "app", "securityContext": security} if security else {"name": "app"}
    words: list[str] = []
    hardened = msgspec.json.decode(msgspec.json.encode(security))
    for path, value in additions(container, Pod({"spec": {}}), level):
        words += words_of(container, path, value)
        parent = hardened
        for step in path[:-1]:
            parent = parent.setdefault(step, {})
        parent[path[-1]] = value
    assert taken_back(hardened, words) == security


@pytest.mark.parametrize("status", [
    None, 3, "", "x", "[]", "{}", '{"hardened": 3}', '{"hardened": {"app": "NET_RAW"}}', '{"hardened": {"app": [3]}}', "[" * 5000,
])
def test_a_status_that_is_none_says_nothing(status: object) -> None:
    assert added_of({"bartizan.dev/status": status}) == {}


def test_only_words_of_ours_count() -> None:
    assert added_of({"bartizan.dev/status": '{"hardened": {"app": ["NET_RAW", "privileged", "runAsUser"]}}'}) == {"app": ("NET_RAW",)}
