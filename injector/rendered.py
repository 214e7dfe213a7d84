"""Whether a container that bears our name is what we rendered, in the shape in which it comes back from the API server.

Its own admission adds to it: a mount of the API's token (ServiceAccount), pulls that are always asked for (AlwaysPullImages), requests
and limits that we leave open (LimitRanger); and it writes amounts in its own way (500m for 0.5). Nothing else may differ.

Trust: the container was written by whoever may create pods. Attacked by tests/injector/test_rendered.py.
"""

import re
from fractions import Fraction
from typing import Any

from .cluster.objects import Json, at, objects

API_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", re.ASCII)
_UNITS = {
    "": Fraction(1), "m": Fraction(1, 1000), **{unit: Fraction(1000**(i + 1)) for i, unit in enumerate(("k", "M", "G", "T"))},
    **{unit: Fraction(1024**(i + 1)) for i, unit in enumerate(("Ki", "Mi", "Gi", "Ti"))},
}


def is_rendered(found: Json, rendered: Json) -> bool:
    """Raises ConfigError where a field of `found` has the wrong type."""
    mounts = [one for one in objects(found.get("volumeMounts"), "volumeMounts") if one.get("mountPath") != API_TOKEN_MOUNT]
    pulls, ours = found.get("imagePullPolicy"), rendered["imagePullPolicy"]
    shaped = {
        **found, "volumeMounts": mounts, "imagePullPolicy": ours if pulls == "Always" else pulls,
        "resources": _shaped(at(found, "resources"), rendered["resources"]),
    }
    return shaped == {"volumeMounts": [], **rendered}


def _shaped(found: Json, rendered: Json) -> dict[str, Any]:
    """Amounts that are ours as we write them; without those that we say nothing about."""
    shaped = dict(found)
    for kind in ("requests", "limits"):
        if said := at(rendered, kind):
            amounts = at(found, kind)
            shaped[kind] = {name: said[name] if _is_same(amounts[name], said[name]) else amounts[name] for name in said if name in amounts}
        else:
            shaped.pop(kind, None)
    return shaped


def _is_same(one: object, other: object) -> bool:
    return one == other or (_amount(one) is not None and _amount(one) == _amount(other))


def _amount(text: object) -> Fraction | None:
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    return Fraction(match[1]) * _UNITS[match[2] or ""] if match else None
