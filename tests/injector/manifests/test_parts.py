"""A pod of the control plane, as Pod Security's `restricted` wants it, and what is said of its volumes."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from injector.manifests.gateway import gateway
from injector.manifests.injector import injector
from injector.manifests.issuer import issuer
from injector.manifests.plan import Plan

from .support import PLANS, one, pod


def ingress_gateway(plan: Plan) -> list[dict[str, Any]]:
    return gateway(msgspec.structs.replace(plan, gateway=msgspec.structs.replace(plan.gateway, ingress=True)))


parts = pytest.mark.parametrize("render", [injector, issuer, ingress_gateway])
lasting = pytest.mark.parametrize("render", [injector, issuer])
Render = Callable[[Plan], list[dict[str, Any]]]


@parts
def test_it_may_do_nothing_on_its_node(render: Render) -> None:
    spec = pod(render(Plan()))["spec"]
    assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    for container in spec["containers"]:
        context = container["securityContext"]
        assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"].keys() == {"requests", "limits"}
    assert {*map(str, (set(volume) - {"name"} for volume in spec["volumes"]))} <= {"{'configMap'}", "{'projected'}", "{'emptyDir'}"}


@parts
def test_every_mount_has_its_volume(render: Render) -> None:
    for plan in PLANS.values():
        made = render(plan)
        claims = [claim["metadata"]["name"] for each in made for claim in each.get("spec", {}).get("volumeClaimTemplates", ())]
        spec = pod(made)["spec"]
        assert sorted(mount["name"] for mount in spec["containers"][0]["volumeMounts"]) == sorted(
            [*(volume["name"] for volume in spec["volumes"]), *claims])


@parts
def test_services_and_budgets_mean_its_pods(render: Render) -> None:
    for plan in PLANS.values():
        made = render(plan)
        labels = pod(made)["metadata"]["labels"].items()
        chosen = [one["spec"]["selector"] for one in made if one["kind"] == "Service"]
        others = ("PodDisruptionBudget", "StatefulSet", "Deployment")
        chosen += [one["spec"]["selector"]["matchLabels"] for one in made if one["kind"] in others]
        assert len(chosen) >= 3
        assert all(selector.items() <= labels for selector in chosen)


@lasting
def test_another_configuration_makes_its_pods_anew(render: Render) -> None:
    def annotations(plan: Plan) -> object:
        return pod(render(plan))["metadata"]["annotations"]

    assert annotations(PLANS["full"]) != annotations(Plan()) == annotations(Plan(replicas=5))


@lasting
def test_what_it_keeps_is_on_a_volume_of_each_replica_where_one_is_wanted(render: Render) -> None:
    [claim] = one(render(PLANS["full"]), "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert (claim["spec"]["resources"]["requests"]["storage"], claim["spec"]["storageClassName"]) == ("10Gi", "fast")
    assert {"name": "state", "emptyDir": {}} in pod(render(Plan()))["spec"]["volumes"]


def test_pods_of_one_revision_are_not_those_of_another() -> None:
    def chosen(plan: Plan) -> Any:
        return one(injector(plan), "Service", plan.injector)["spec"]["selector"]

    assert not chosen(Plan()).items() <= pod(injector(PLANS["revision"]))["metadata"]["labels"].items()
    everybody = one(injector(Plan()), "Service", "bartizan-injector-replicas")["spec"]["selector"].items()
    assert all(everybody <= pod(injector(plan))["metadata"]["labels"].items() for plan in PLANS.values())
