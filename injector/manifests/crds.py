"""EgressPolicy and MeshPolicy, as `bartizan schema crd` prints them."""

from injector.cli.schema import definitions

from .parts import Manifest, labels
from .plan import Plan


def crds(plan: Plan) -> list[Manifest]:
    """The same for every plan: all revisions share them."""
    return [{**made, "metadata": {**made["metadata"], "labels": labels("crds")}} for made in definitions()["items"]]
