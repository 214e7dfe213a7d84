"""Between pods: who is who on both ends, which routes are open, and what changes while it runs."""

import json

import pytest

from sidecar.model.identity import workload_id
from sidecar.model.reason import Reason
from tests.helpers.pods import wait_until

from .node_files import DOMAIN
from .space import Space
from .workloads import LEAVES_IN_ORDER

pytestmark = pytest.mark.timeout(600)
CHANGED_S = 5.0


def routes(*paths: str, account: str = "web") -> dict[str, str]:
    """The annotation that opens these to one caller."""
    entries = [{"name": f"route-{i}", "port": 8080, "matches": [{"path": {"type": "PathPrefix", "value": path}, "method": "GET"}],
                "allow": [{"serviceAccount": account}]} for i, path in enumerate(paths)]
    return {"bartizan.dev/routes": json.dumps(entries)}


def test_both_ends_prove_who_they_are_and_routes_decide(space: Space) -> None:
    space.apply_app("orders", routes("/orders", "/healthz"))
    space.apply_app("web")
    space.apply_app("thief")
    space.ready("orders", "web", "thief")
    for family in ("-4", "-6"):
        answer = space.curl("web", family, space.url("orders", "/orders/1"))
        assert answer.status == 200
        seen = answer.arrived
        assert f"URI={workload_id(DOMAIN, space.name, 'web')}" in seen["x-forwarded-client-cert"]
        assert f"By={workload_id(DOMAIN, space.name, 'orders')}" in seen["x-forwarded-client-cert"]
        assert seen["x-bartizan-tls"].startswith("TLSv1.3")
    for who, path, method, reason in (
        ("web", "/admin", "GET", Reason.NO_ROUTE), ("web", "/orders/1", "POST", Reason.NO_ROUTE),
        ("thief", "/orders/1", "GET", Reason.NOT_ALLOWED),
    ):
        refused = space.curl(who, "-X", method, space.url("orders", path))
        assert (refused.status, refused.reason) == (403, f"{reason.code} {reason.token}")
    by_hand = space.curl("web", "-H", "x-forwarded-client-cert: URI=spiffe://x", space.url("orders", "/orders/1"))
    assert "spiffe://x" not in by_hand.body


def test_plaintext_from_a_pod_without_a_sidecar_is_refused(space: Space) -> None:
    space.app("orders")
    bare = Space("default", space.kubectl, space.images)
    bare.app("stranger")
    done = bare.exec_in("stranger", "curl", "-sS", "--max-time", "10", "-o", "/dev/stdout", "-w", "%{http_code}", space.url("orders"))
    assert "200" not in done.stdout
    bare.run("delete", "deployment/stranger", "--wait=false")


def test_an_annotation_of_the_deployment_counts_without_a_rollout(space: Space) -> None:
    space.apply_app("orders", routes("/orders", "/healthz"))
    space.apply_app("web")
    space.ready("orders", "web")
    before = [pod["metadata"]["uid"] for pod in space.pods("orders")]
    assert space.curl("web", space.url("orders", "/invoices")).status == 403
    for paths, path, status in ((("/invoices", "/healthz"), "/invoices", 200), (("/orders", "/healthz"), "/invoices", 403)):
        space.run("annotate", "--overwrite", "deployment/orders", f"bartizan.dev/routes={routes(*paths)['bartizan.dev/routes']}")
        wait_until(lambda path=path, status=status: space.curl("web", space.url("orders", path)).status == status,
                   lambda: space.run("get", "deployment/orders", "-o", "yaml"), CHANGED_S)
    assert [pod["metadata"]["uid"] for pod in space.pods("orders")] == before


def test_a_rolling_restart_under_load_fails_no_request(space: Space) -> None:
    rolling = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    space.apply_app("orders", replicas=2, container=LEAVES_IN_ORDER)
    space.apply_app("web")
    space.ready("orders", "web")
    space.run("patch", "deployment/orders", "--patch", json.dumps({"spec": {"strategy": rolling}}))
    before = {pod["metadata"]["uid"] for pod in space.pods("orders")}
    with space.load("web", space.url("orders", "/orders")) as seen:
        space.run("rollout", "restart", "deployment/orders")
        space.ready("orders")
    assert list(seen) == ["200"], seen
    assert seen["200"]["count"] > 50
    assert not before & {pod["metadata"]["uid"] for pod in space.pods("orders")}
