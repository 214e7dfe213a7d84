from injector.cli.schema import definitions
from injector.manifests.crds import crds

from .support import PLANS


def test_they_are_those_that_the_schema_verb_prints() -> None:
    made = crds(PLANS["default"])
    assert [one["spec"] for one in made] == [one["spec"] for one in definitions()["items"]]
    assert [one["metadata"]["name"] for one in made] == ["egresspolicies.bartizan.dev", "meshpolicies.bartizan.dev"]
