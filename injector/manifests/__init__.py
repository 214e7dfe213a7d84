"""What `bartizan install` prints, and what the chart is made of: a `Plan` in, Kubernetes objects out, in the order of applying.

    plan                what can be said, one value
    namespace  crds     where the control plane lives, and the policies' kinds
    rbac                who of it may do what
    issuer  injector    the two parts; `parts` is what they have in common
    gateway             where clients come in, if that is wanted
    network             who may speak to them
    webhooks            the admission of one revision
    backstop            what holds even where no webhook answers
    chart               the Helm chart, made of the same renderers: `make chart`

No secret is in it, nor anything that a running control plane writes (`caBundle`, the authority, the roots): it can be kept in a
repository, and applied again at any time.
"""

from collections.abc import Callable, Mapping

from .backstop import backstop
from .crds import crds
from .gateway import gateway
from .injector import injector
from .issuer import issuer
from .namespace import namespace
from .network import network
from .parts import Manifest
from .plan import Plan
from .rbac import rbac
from .webhooks import webhooks

# Admission comes last: what refuses is there when who decides is on its way.
RENDERERS: Mapping[str, Callable[[Plan], list[Manifest]]] = {
    "namespace": namespace, "crds": crds, "rbac": rbac, "network": network, "issuer": issuer, "injector": injector, "gateway": gateway,
    "webhooks": webhooks, "backstop": backstop,
}


def manifests(plan: Plan) -> list[Manifest]:
    return [made for render in RENDERERS.values() for made in render(plan)]
