from typing import Any

import pytest

from certs.holders import together
from injector.cluster import Cluster
from injector.holders import NOTHING, Holders, Said, live_pods
from sidecar.model.trust import NOBODY, DenyList, Holder, Revoked
from sidecar.model.worker import Worker
from tests.injector.pods import ingress_gateway

DOMAIN = "example.org"
NOW = 1_800_000_000.0
SIGNER = "ab" * 32
DELETED = "2027-01-15T08:00:30Z"     # half a minute after NOW


def pod(uid: str, *, has_sidecar: bool = True, deleted: str | None = None, **status: Any) -> dict[str, Any]:
    return {
        "kind": "Pod", "metadata": {"name": f"web-{uid}", "namespace": "shop", "uid": uid, "deletionTimestamp": deleted},
        "spec": {"initContainers": [{"name": "bartizan-sidecar"}] if has_sidecar else []},
        "status": {"phase": "Running", "podIP": "10.0.0.1", **status},
    }


def names(*pods: dict[str, Any], now: float = NOW) -> list[str]:
    return [found.uid for found in live_pods(Cluster.of(pods).pods.values(), now)]


@pytest.mark.parametrize(("found", "counts"), [
    (pod("1"), True), (pod("1", phase="Pending"), True), (pod("1", has_sidecar=False), False), (pod("1", podIP=None), False),
    (pod("1", phase="Succeeded"), False), (pod("1", phase="Failed"), False), (pod("1", deleted=DELETED), True),
    (ingress_gateway("1"), True), (ingress_gateway("1", serviceAccountName="default"), False),
])
def test_who_counts(found: dict[str, Any], counts: bool) -> None:
    assert names(found) == [found["metadata"]["uid"]] * counts


def test_a_pod_that_should_have_ended_holds_nobody_up() -> None:
    assert names(pod("1", deleted=DELETED), now=NOW + 29) == ["1"]
    assert names(pod("1", deleted=DELETED), now=NOW + 30) == []


def test_the_latest_word_of_each_and_zero_of_whom_nobody_has_heard() -> None:
    cluster, holders = Cluster.of([pod("2"), pod("1")]), Holders()
    holders.note("2", Said(5, ""))
    holders.note("2", Said(6, SIGNER))
    holders.note("3", Said(7, SIGNER))      # no pod of the cluster
    assert holders.of(cluster, DOMAIN, NOBODY, NOW) == [Holder("shop/web-1", 0, ""), Holder("shop/web-2", 6, SIGNER)]


def test_what_the_gone_said_is_forgotten() -> None:
    holders = Holders()
    holders.note("1", Said(5, SIGNER))
    holders.forget_gone(Cluster.of([]))
    assert holders.of(Cluster.of([pod("1")]), DOMAIN, NOBODY, NOW) == [Holder("shop/web-1", NOTHING.trust, NOTHING.signer)]


@pytest.mark.parametrize(("revoked", "found"), [
    (Revoked(pods=("1",)), ["shop/web-2"]), (Revoked(identities=(f"spiffe://{DOMAIN}/ns/shop/sa/default",)), []),
    (Revoked(identities=(f"spiffe://{DOMAIN}/ns/shop/sa/web",), keys=(SIGNER,), serials=("0" * 31 + "1",)), ["shop/web-1", "shop/web-2"]),
])
def test_who_was_revoked_holds_nobody_up(revoked: Revoked, found: list[str]) -> None:
    """Its questions are refused, so it can never say that it holds anything."""
    cluster = Cluster.of([pod("1"), pod("2")])
    assert [one.name for one in Holders().of(cluster, DOMAIN, DenyList.of(revoked), NOW)] == found


def test_each_process_of_a_gateway_is_waited_for() -> None:
    """Also by a replica that has heard of none of them, and by two that have heard of one each: together they know of all."""
    cluster = Cluster.of([pod("1")])
    heard = [Holders() for _ in range(3)]
    heard[0].note("1", Said(5, SIGNER), Worker(1, 2))
    heard[1].note("1", Said(6, SIGNER), Worker(2, 2))
    told = [one.of(cluster, DOMAIN, NOBODY, NOW) for one in heard]
    assert told == [
        [Holder("shop/web-1", 5, SIGNER), Holder("shop/web-1 (worker 2)", 0, "")],
        [Holder("shop/web-1", 0, ""), Holder("shop/web-1 (worker 2)", 6, SIGNER)],
        [Holder("shop/web-1", 0, "")],
    ]
    assert together(told, SIGNER) == [Holder("shop/web-1", 5, SIGNER), Holder("shop/web-1 (worker 2)", 6, SIGNER)]
