"""ExternalName Services: names of the cluster that stand for hosts outside of it. What they stand for is judged as egress.

An alias approves nothing. One that leads back into the cluster, or to an address, leads nowhere: what is meant there has a name of its
own that can be judged. Spec: core/v1 Service, `externalName`.
"""

from collections.abc import Collection, Iterator

from injector.cluster import Cluster
from injector.cluster.objects import Object, text
from sidecar.model.address import is_address
from sidecar.model.egress import HOST_NAME, Alias


def compile_aliases(cluster: Cluster, namespace: str, wanted: Collection[str] | None, cluster_domain: str) -> tuple[Alias, ...]:
    """Those of the workload's namespace and those that it wanted to know of, in a stable order.

    Args:
        wanted: see `sidecar/model/needs.py`; None: all there are.
    """
    if wanted is None:
        services = [service for found in cluster.services_in.values() for service in found]
    else:
        asked = (text.partition(".") for text in wanted)
        others = (cluster.services.get((of, name)) for name, _, of in asked if of != namespace)
        services = [*cluster.services_in.get(namespace, ()), *(service for service in others if service is not None)]
    return tuple(sorted(_aliases(services, cluster_domain), key=lambda alias: alias.name))


def _aliases(services: Collection[Object], cluster_domain: str) -> Iterator[Alias]:
    for service in services:
        if service.spec.get("type") == "ExternalName":
            host = text(service.spec.get("externalName"), "spec.externalName").lower().removesuffix(".")
            yield Alias(f"{service.name}.{service.namespace}", host if HOST_NAME.fullmatch(host) else "", _problem(host, cluster_domain))


def _problem(host: str, cluster_domain: str) -> str:
    """Why it leads nowhere, in words."""
    if is_address(host):
        return f"its externalName is the address {host}; name a host, or ask for the address as `cidr`"
    if not HOST_NAME.fullmatch(host):
        return f"its externalName {host[:100]!r} is no name of a host"
    if host == cluster_domain or host.endswith((f".{cluster_domain}", ".svc")) or "." not in host:
        return f"its externalName {host} is a name of the cluster; call that itself"
    return ""
