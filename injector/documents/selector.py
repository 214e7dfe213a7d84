"""The label selector of Kubernetes' own objects, whole: `documents.LabelSelector` is the simpler one of ours.

Spec: meta/v1 LabelSelector.
"""

from typing import Literal

from injector.cluster.objects import Json, selects
from sidecar.model.value import Value


class Requirement(Value, frozen=True):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] | None = None

    def holds(self, labels: Json) -> bool:
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        is_among = self.key in labels and labels[self.key] in (self.values or ())
        return is_among if self.operator == "In" else not is_among     # NotIn holds of what has no such label, too


class Selector(Value, frozen=True):
    """Empty selects everything; all that stands there must hold."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Requirement, ...] | None = None

    def selects(self, labels: Json) -> bool:
        return selects(self.match_labels or {}, labels) and all(one.holds(labels) for one in self.match_expressions or ())

    def only(self, key: str) -> frozenset[str] | None:
        """The values of a label that all whom it selects have; None: any, or none."""
        if self.match_labels and key in self.match_labels:
            return frozenset({self.match_labels[key]})
        listed = (one.values for one in self.match_expressions or () if one.key == key and one.operator == "In")
        return next((frozenset(values or ()) for values in listed), None)
