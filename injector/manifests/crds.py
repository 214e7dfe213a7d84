"""EgressPolicy and MeshPolicy, as `bartizan schema crd` prints them. When a chart goes they stay, and so do all policies."""

from injector.cli.schema import definitions

from .parts import KEPT, Manifest, labels
from .plan import Plan


def crds(plan: Plan) -> list[Manifest]:
    """The same for every plan: all revisions share them."""
    return [{**made, "metadata": {**made["metadata"], "labels": labels("crds"), "annotations": KEPT}} for made in definitions()["items"]]
