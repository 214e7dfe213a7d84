"""A real API server says which NetworkPolicies are valid, and what is absent means: the compiler says the same of a directory's."""

from typing import Any

import pytest

from certs.kubernetes import ApiError
from injector.cluster.objects import Object
from injector.compile.network_policy import DIRECTIONS, read_network_policy
from tests.injector.compile.network_policies import CASES, UNREADABLE, policy

from .cluster import Cluster

PATH = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies?fieldValidation=Strict&dryRun=All"


async def taken(cluster: Cluster, made: dict[str, Any]) -> dict[str, Any]:
    """As the API server has it. Nothing is kept."""
    made = {**made, "metadata": {**made["metadata"], "namespace": "shop"}}
    found: dict[str, Any] = await cluster.admin.create(PATH, made, dict)
    return found


# Older ones take them, and their objects stay.
SINCE_REFUSED = "bits behind the prefix count for nothing"


async def test_every_case_of_the_table_is_valid_and_means_the_same_once_it_is_taken(cluster: Cluster) -> None:
    count = 0
    for case in (one for one in CASES if one.name != SINCE_REFUSED):
        for made in case.manifests:
            if made["kind"] == "NetworkPolicy":
                ours, theirs = read_network_policy(Object(made)), read_network_policy(Object(await taken(cluster, made)))
                assert ours.problems == theirs.problems == (), case.name
                for direction in DIRECTIONS:
                    assert ours.spec.isolates(direction) is theirs.spec.isolates(direction), case.name
                    assert len(ours.spec.rules(direction)) == len(theirs.spec.rules(direction)), case.name
                count += 1
    assert count > 60


@pytest.mark.parametrize("spec", [spec for spec, _, _ in UNREADABLE], ids=lambda value: str(value)[-50:])
async def test_what_we_cannot_read_it_refuses(spec: Any, cluster: Cluster) -> None:
    if isinstance(spec, dict) and spec.get("ingress") == [None]:    # an empty item to the API server; we are stricter: a slip, likely
        made = await taken(cluster, policy(spec))
        assert made["spec"]["ingress"] == [{}]
        return
    with pytest.raises(ApiError):
        await taken(cluster, policy(spec))
