"""All of it together: order, labels, names of revisions apart, no secret, and nothing that a running control plane writes."""

import json
from typing import Any

import pytest

from injector.manifests import manifests
from injector.manifests.plan import Plan, read_plan
from injector.settings import AUTHORITY, ROOTS

from .support import PLANS

Key = tuple[str, str, str]


def keys(plan: Plan) -> list[Key]:
    return [key(made) for made in manifests(plan)]


def key(made: dict[str, Any]) -> Key:
    return made["kind"], made["metadata"].get("namespace", ""), made["metadata"]["name"]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_each_is_there_once_and_known_as_ours(plan: Plan) -> None:
    made = manifests(plan)
    assert len(set(map(key, made))) == len(made)
    assert {one["metadata"]["labels"]["app.kubernetes.io/part-of"] for one in made} == {"bartizan"}
    assert all("apiVersion" in one for one in made)


def test_where_things_live_comes_before_them_and_admission_comes_last() -> None:
    kinds = [kind for kind, _, _ in keys(Plan())]
    assert kinds[0] == "Namespace"
    assert kinds.index("ServiceAccount") < kinds.index("StatefulSet") < kinds.index("MutatingWebhookConfiguration")


def test_the_same_values_print_the_same() -> None:
    assert manifests(Plan()) == manifests(read_plan())


def test_nothing_is_printed_that_a_running_control_plane_writes() -> None:
    """Who applies the manifests again takes nothing away: no Secret, no roots, no caBundle."""
    for plan in PLANS.values():
        assert "Secret" not in {kind for kind, _, _ in keys(plan)}
        assert not {(AUTHORITY), (ROOTS)} & {name for _, _, name in keys(plan)}
        assert "caBundle" not in json.dumps([made for made in manifests(plan) if made["kind"] != "CustomResourceDefinition"])


def test_two_revisions_share_what_is_of_all_and_nothing_else() -> None:
    shared = set(keys(Plan())) & set(keys(PLANS["revision"]))
    one, other = ({key(made): made for made in manifests(plan)} for plan in (Plan(), PLANS["revision"]))
    assert {each for each in shared if one[each] != other[each]} == set()
    assert {(kind, name) for kind, _, name in set(keys(PLANS["revision"])) - shared if not name.startswith("bartizan-injector-v2")} == set()
    assert ("StatefulSet", "bartizan-system", "bartizan-issuer") in shared
