"""What Ingresses, GatewayClasses, Gateways and HTTPRoutes are told of themselves: their status, as it should be. Pure.

Addresses are those of the ingress gateway's Service: of the load balancer, else externalIPs, else of the nodes where its ports are open.
Its own, only if it is for the cluster alone (ClusterIP): what stands here may be published, and clients outside would find nobody there.
Of a status only the fields that are ours are compared and written; of an HTTPRoute's parents those that we control.
Spec: networking.k8s.io/v1 IngressStatus; gateway.networking.k8s.io/v1 GatewayClassStatus, GatewayStatus, HTTPRouteStatus.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from injector.cluster import Cluster, Ref, cluster_ips
from injector.cluster.objects import Json, Object, addresses, at, objects
from injector.settings import GATEWAY, GATEWAY_CONTROLLER, SYSTEM
from sidecar.model.address import is_address
from sidecar.model.errors import ConfigError

from .conditions import Cause, Condition, condition
from .edge import EdgeBook
from .gateway_api import GatewayApi
from .gateways import FEATURES, Gateway
from .httproutes import HttpRoute, attached_json
from .inbound import Keys
from .said import PLAIN, TLS

MOST_ADDRESSES = 16     # what the API takes of a Gateway's
TAKEN, NOT_IN_FORCE = "HostAndPathTaken", "RuleNotInForce"


def gateway_addresses(cluster: Cluster) -> tuple[str, ...]:
    """IP addresses and host names at which clients find the ingress gateway; none: it has no Service, or that has none yet."""
    service = cluster.services.get((SYSTEM, GATEWAY))
    if service is None:
        return ()
    try:
        return tuple(dict.fromkeys(_addresses(service, cluster)))[:MOST_ADDRESSES]
    except ConfigError:
        return ()


def _addresses(service: Object, cluster: Cluster) -> list[str]:
    balanced = objects(at(service.data, "status", "loadBalancer").get("ingress"), "status.loadBalancer.ingress")
    found = [str(one.get("ip") or one.get("hostname")) for one in balanced if one.get("ip") or one.get("hostname")]
    found = found or addresses(service.spec.get("externalIPs"), "spec.externalIPs")
    if found:
        return found
    if service.spec.get("type") == "NodePort":
        pods = (pod for (namespace, _), pod in cluster.pods.items() if namespace == SYSTEM and pod.service_account == GATEWAY)
        return sorted({ip for pod in pods if pod.is_ready for ip in addresses([at(pod.data, "status").get("hostIP")], "status.hostIP")})
    return cluster_ips(service) if service.spec.get("type", "ClusterIP") == "ClusterIP" else []


# -- as it should be; conditions without their times


def ingress_status(found: tuple[str, ...], problems: tuple[str, ...], *, is_taken: bool) -> dict[str, Any]:
    """
    Args:
        problems: of the Ingress; what is wrong in words is for Events, which have room for it.
        is_taken: another object, which is older, has a host and path of its own, or the certificate.
    """
    error = {"error": f"bartizan.dev/{TAKEN if is_taken else NOT_IN_FORCE}"}
    ports = [{"port": port, "protocol": "TCP", **error} for port in (PLAIN, TLS)] if problems else []
    return {"loadBalancer": {"ingress": [
        {"ip" if is_address(one) else "hostname": one, **({"ports": ports} if ports else {})} for one in found
    ]}}


def class_status(accepted: Condition) -> dict[str, Any]:
    return {"conditions": [accepted.as_json()], "supportedFeatures": [{"name": name} for name in FEATURES]}


def gateway_status(gateway: Gateway, found: tuple[str, ...]) -> dict[str, Any]:
    served = [one for one in gateway.listeners if one.is_served]
    lacking = gateway.refused or [Cause("ListenersNotValid", problem) for problem in gateway.problems]
    if gateway.refused or not served:
        accepted = condition("Accepted", lacking)
        programmed = condition("Programmed", [Cause("Invalid", cause.message) for cause in lacking])
    else:
        accepted = Condition("Accepted", True, "ListenersNotValid" if lacking else "Accepted", "; ".join(one.message for one in lacking))
        why = f"there is no Service {GATEWAY} in namespace {SYSTEM}, or it has no address yet"
        programmed = condition("Programmed", [] if found else [Cause("AddressNotAssigned", why)])
    return {
        "addresses": [{"type": "IPAddress" if is_address(one) else "Hostname", "value": one} for one in found],
        "conditions": [accepted.as_json(), programmed.as_json()], "listeners": [one.status() for one in gateway.listeners],
    }


def route_status(route: HttpRoute, problems: tuple[str, ...], one: Object, *, is_taken: bool) -> dict[str, Any]:
    """
    Args:
        problems: all that is not in force; those that the route does not know itself come of other objects.
        one: as it stands, with what other controllers have said.
    """
    others = [problem for problem in problems if problem not in route.problems]
    reason = TAKEN if is_taken else NOT_IN_FORCE
    more = [Condition("bartizan.dev/InForce", False, reason, "; ".join(others))] if others else []
    theirs = [
        parent for parent in objects(at(one.data, "status").get("parents"), "status.parents")
        if parent.get("controllerName") != GATEWAY_CONTROLLER
    ]
    return {"parents": [*theirs, *({**parent, "controllerName": GATEWAY_CONTROLLER} for parent in attached_json(route, more))]}


@dataclass(frozen=True, slots=True)
class Told:
    """
    Args:
        status: as it should be, without times.
        problems: what is not in force, in words; for Events.
    """

    status: Mapping[str, Any]
    problems: tuple[str, ...] = ()
    is_taken: bool = False

    @property
    def reason(self) -> str:
        return TAKEN if self.is_taken else NOT_IN_FORCE


def told_of(cluster: Cluster, keys: Keys, book: EdgeBook) -> dict[Ref, Told]:
    """By what the book knows of the edge."""
    joined = book.of(cluster, keys)
    return told(cluster, book.gateway_api, book.said, joined.problems, joined.taken)


def told(
    cluster: Cluster, api: GatewayApi, ingresses: Iterable[Ref], problems: Mapping[Ref, tuple[str, ...]], taken: Container[Ref],
) -> dict[Ref, Told]:
    """
    Args:
        ingresses: those that are ours.
        problems: by object, what of it is not in force.
        taken: the objects that another, older one stands before.
    """
    found = gateway_addresses(cluster)

    def one(ref: Ref, status: Mapping[str, Any]) -> Told:
        return Told(status, problems.get(ref, ()), ref in taken)

    made = {ref: one(ref, ingress_status(found, problems.get(ref, ()), is_taken=ref in taken)) for ref in ingresses}
    for name, accepted in api.classes.items():
        made["GatewayClass", "", name] = one(("GatewayClass", "", name), class_status(accepted))
    made |= {ref: one(ref, gateway_status(gateway, found)) for ref, gateway in api.gateways.items()}
    for ref, route in api.routes.items():
        made[ref] = one(ref, route_status(route, problems.get(ref, ()), cluster.of_kind(ref[0])[ref[1:]], is_taken=ref in taken))
    return made


# -- as it is to be written


def changed(one: Object, wanted: Json, now: str) -> dict[str, Any] | None:
    """What is to be written; None: it says so already. A condition keeps its time as long as it says the same.

    Args:
        now: as RFC 3339 has it.
    """
    current = at(one.data, "status")
    made: dict[str, Any] = _timed(wanted, current, one.metadata.get("generation"), now)
    return made if any(current.get(name) != value for name, value in made.items() if value or current.get(name)) else None


def _timed(value: Any, current: Any, generation: object, now: str) -> Any:
    """The value, and in each list of conditions in it the time since when and the generation of which each holds."""
    if isinstance(value, dict):
        before = current if isinstance(current, dict) else {}
        return {key: _conditions(one, before.get(key), generation, now) if key == "conditions" and not _is_written(value)
                else _timed(one, before.get(key), generation, now) for key, one in value.items()}
    if isinstance(value, list):
        return [_timed(one, _same(one, current), generation, now) for one in value]
    return value


def _is_written(value: Json) -> bool:
    """By another controller."""
    return bool(value.get("controllerName", GATEWAY_CONTROLLER) != GATEWAY_CONTROLLER)


def _same(one: object, current: object) -> object:
    """What stands now of the same listener or parent."""
    if isinstance(one, dict):
        for other in current if isinstance(current, list) else []:
            if isinstance(other, dict) and all(one.get(key) == other.get(key) for key in ("name", "parentRef", "controllerName")):
                return other
    return None


def _conditions(made: Iterable[Json], current: object, generation: object, now: str) -> list[dict[str, Any]]:
    before = {one.get("type"): one for one in current if isinstance(one, dict)} if isinstance(current, list) else {}
    return [
        {**one, **({"observedGeneration": generation} if generation is not None else {}),
         "lastTransitionTime": before[one["type"]].get("lastTransitionTime", now)
         if one["type"] in before and before[one["type"]].get("status") == one["status"] else now}
        for one in made
    ]
