"""What of Bartizan a cluster holds: control planes by their revision, what they are started with, and who is in the mesh."""

import json

from injector.cluster.objects import Pod, at
from injector.documents import INJECTION, REVISION
from injector.settings import INJECTOR, ISSUER, SYSTEM, injector_of
from sidecar.model.errors import ConfigError, MeshError

from .kubectl import Json, Kubectl, NotFound

PART = "app.kubernetes.io/part-of=bartizan"
INJECTORS = f"{PART},app.kubernetes.io/name={INJECTOR}"     # of all revisions


class Stays(MeshError):
    """What is installed is not what was asked for; nothing was changed."""


def trust_domain(kubectl: Kubectl) -> str:
    """The issuer's; empty: there is no issuer. Raises KubectlError, or Stays if its configuration is none."""
    try:
        found = kubectl.get("configmap", ISSUER, SYSTEM)
    except NotFound:
        return ""
    try:
        return str(json.loads(found["data"]["config.json"])["trustDomain"])
    except (KeyError, TypeError, ValueError) as exc:
        raise Stays(f"the ConfigMap {SYSTEM}/{ISSUER} holds no configuration of an issuer; apply that of the version that is installed "
                    "first, or give its trust domain back to it") from exc


def config_of(kubectl: Kubectl, revision: str = "") -> Json:
    """What an injector is started with. Raises KubectlError or ConfigError."""
    name = injector_of(revision)
    text = at(kubectl.get("configmap", name, SYSTEM), "data").get("config.json")
    try:
        found = json.loads(str(text or ""))
    except ValueError as exc:
        raise ConfigError(f"ConfigMap {SYSTEM}/{name}", "config.json is no JSON") from exc
    if not isinstance(found, dict):
        raise ConfigError(f"ConfigMap {SYSTEM}/{name}", "config.json is no object")
    return found


def stateful_sets(kubectl: Kubectl) -> dict[str, Json]:
    """By their names."""
    return {made["metadata"]["name"]: made for made in kubectl.list("statefulsets", SYSTEM, PART)}


def revisions(kubectl: Kubectl) -> list[str]:
    """Of the control planes that are there; empty text: the one without a name."""
    labels = (made["metadata"].get("labels") or {} for made in stateful_sets(kubectl).values())
    return sorted(found[REVISION] for found in labels if REVISION in found)


def meshed_namespaces(kubectl: Kubectl, revision: str | None = None) -> list[str]:
    """Those whose new pods come into the mesh.

    Args:
        revision: only those of this one; None: all.
    """
    selector = f"{INJECTION}=enabled"
    if revision is not None:
        selector += f",{REVISION}={revision}" if revision else f",!{REVISION}"
    return sorted(made["metadata"]["name"] for made in kubectl.list("namespaces", selector=selector))


def meshed_pods(kubectl: Kubectl, revision: str | None = None) -> list[str]:
    """`shop/web-0` of every pod with a sidecar that has not ended. An ingress gateway is part of what is installed, but needs its
    revision's injector all the same.

    Args:
        revision: only those that ask the injector of this one; None: all but ingress gateways.
    """
    asked = f"//{injector_of(revision)}.{SYSTEM}." if revision is not None else ""
    pods = (Pod(made) for made in kubectl.list("pods"))
    needing = (pod for pod in pods if pod.has_sidecar or (pod.is_ingress_gateway and revision is not None))
    return sorted(f"{pod.namespace}/{pod.name}" for pod in needing if not pod.has_ended and asked in _asks(pod))


def _asks(pod: Pod) -> str:
    """The configuration of its process, in which the injector's address stands."""
    containers = (*pod.init_containers, *pod.containers)
    return " ".join(str(variable.get("value", "")) for container in containers for variable in container.get("env") or ()
                    if variable.get("name") == "BARTIZAN_CONFIG")
