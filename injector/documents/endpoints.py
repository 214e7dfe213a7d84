"""`bartizan.dev/endpoints`: how callers are to use the endpoints that a workload's pods are.

Each field is valid or broken for itself, so that an annotation is read as several rules of one field each: see `validate.py`.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from sidecar.model import service
from sidecar.model.route import Percent
from sidecar.model.service import Count, HashOn, Limits
from sidecar.model.value import Value

from .text import Duration

_EJECTION = service.Ejection()      # for its defaults


class BalancingPolicy(Value, frozen=True):
    policy: Literal["LeastRequest", "RoundRobin", "ConsistentHash"] = "LeastRequest"
    hash_on: HashOn | None = None


class Ejection(Value, frozen=True):
    """An endpoint that fails so often in a row is left out for a while, longer each time; never more than a share of them."""

    failures: Count = _EJECTION.failures
    for_: Duration = msgspec.field(name="for", default="30s")
    most_percent: Percent = _EJECTION.most_percent


class EndpointsRule(Value, frozen=True):
    """What is left out stays as `sidecar/model/service.py` has it."""

    balancing: BalancingPolicy | None = None
    zone_preference: bool | None = None
    slow_start: Duration | None = None
    connect_timeout: Duration | None = None
    ejection: Ejection | Literal["off"] | None = None
    limits: Limits | None = None


def combined(parts: Iterable[EndpointsRule]) -> EndpointsRule:
    """One rule of all that `parts` say."""
    fields = EndpointsRule.__struct_fields__
    return EndpointsRule(**{
        name: value for part in parts for name in fields if (value := getattr(part, name)) is not None
    })
