"""Which Service takes a call: the one that was dialled or, where its rule names backends, one of them by weight."""

import random  # noqa: TID251 -- the type of the generator that is passed in
from collections.abc import Sequence

from sidecar.model.decision import Denied
from sidecar.model.reason import Reason
from sidecar.model.service import Backend, CallRule, Mirror

from .egress import OutboundTable, ToService


def target(dialled: ToService, rule: CallRule | None, outbound: OutboundTable, rng: random.Random) -> ToService | Denied:
    """The Service that takes one request, or connection. Backends that are known share what one that is not would take."""
    if rule is None or not rule.backends:
        return dialled
    known = [(backend.weight, to) for backend in rule.backends
             if backend.weight and (to := named(backend, dialled, outbound)) is not None]
    if not known:
        return Denied(Reason.NO_ENDPOINT, dialled.permit.rule, f"no backend of the rule {rule.name!r} is in the mesh")
    return rng.choices([to for _, to in known], [weight for weight, _ in known])[0]


def led(backends: Sequence[Backend], outbound: OutboundTable, rng: random.Random) -> ToService | None:
    """The Service of HTTP that a rule at the edge leads one request to; None: none of them is in the mesh, or gets any share."""
    if len(backends) == 1 and backends[0].weight:       # nearly always
        to = outbound.service_named(backends[0].service, backends[0].port)
        return to if to is not None and to.service.is_http else None
    known = [(backend.weight, to) for backend in backends
             if backend.weight and (to := outbound.service_named(backend.service, backend.port)) is not None and to.service.is_http]
    if len(known) > 1:
        return rng.choices([to for _, to in known], [weight for weight, _ in known])[0]
    return known[0][1] if known else None


def named(what: Backend | Mirror, dialled: ToService, outbound: OutboundTable) -> ToService | None:
    """The Service that a rule names, if it is of the same kind; the very one that was dialled stays as it was dialled."""
    if (what.service, what.port) == (dialled.service.name, dialled.service.port):
        return dialled
    found = outbound.service_named(what.service, what.port)
    return found if found is not None and found.service.is_http == dialled.service.is_http else None
