"""Where a rule at the edge leads, as an Ingress or our annotation names it: a Service of its own namespace, by its plain name. Pure.

What an HTTPRoute itself names may be another namespace's, which grants it: see `http_rules.py`.
"""

from injector.cluster.objects import is_port
from sidecar.model.identity import NAMESPACE
from sidecar.model.service import Backend

from .looked import Looked
from .services import is_in_mesh, tcp_ports


def backend_of(service: str, port: object, namespace: str, look: Looked) -> tuple[Backend | None, str]:
    """(the Service's port, what is wrong with it). A port that is given by number is named even if it is not there yet.

    Args:
        port: number or name.
    """
    if not NAMESPACE.fullmatch(service):
        return None, f"{service[:100]!r} is no name of a Service; write the plain name of one in the same namespace"
    name, one = f"{service}.{namespace}", look.service((namespace, service))
    problem = ""
    number = port if is_port(port) else None
    if one is None:
        problem = f"there is no Service {service} in namespace {namespace}"
    elif not is_in_mesh(one):
        problem = f"the Service {service} selects no pods, so there is none of the mesh behind it"
    else:
        ports = list(tcp_ports(one))
        if isinstance(port, str):
            number = next((one["port"] for one in ports if one.get("name") == port), None)
        if number not in [one["port"] for one in ports]:
            there = ", ".join(f"{one['port']} ({one['name']})" if one.get("name") else str(one["port"]) for one in ports)
            problem = f"the Service {service} has no TCP port {str(port)[:100]!r} (ports: {there})"
    return (Backend(name, number) if number is not None else None), problem
