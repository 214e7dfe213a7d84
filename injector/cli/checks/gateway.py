"""The ingress gateway, where there is one: whether clients can come in, and whether the certificates of hosts can be read."""

from collections.abc import Iterator

from injector.cli.kubectl import Kubectl, KubectlError, NotFound
from injector.cluster.ingress_class import class_of, is_our_class
from injector.cluster.objects import Object, at, objects
from injector.manifests.rbac import SECRETS_ROLE
from injector.settings import GATEWAY, GATEWAY_CONTROLLER, SYSTEM

from . import Check, failed, judged


def ingress_gateway(kubectl: Kubectl) -> Iterator[Check]:
    """Nothing, if none is meant to be here."""
    description, anchor = "the ingress gateway is ready", "gateway-ready"
    try:
        classes = {one.name for one in map(Object, kubectl.list("ingressclasses.networking.k8s.io")) if is_our_class(one)}
        try:
            deployment = Object(kubectl.get("deployment.apps", GATEWAY, SYSTEM))
        except NotFound:
            if classes:
                yield failed(description, anchor, f"there is none, and Ingresses of the class {sorted(classes)[0]} are nobody else's; "
                                                  "bartizan install --set gateway.ingress=true")
            return
        service = Object(kubectl.get("service", GATEWAY, SYSTEM))
        bindings = kubectl.list("rolebindings.rbac.authorization.k8s.io")
        served = [one for one in map(Object, kubectl.list("ingresses.networking.k8s.io")) if class_of(one) in classes]
        served += _gateways(kubectl)
    except KubectlError as exc:
        yield failed(description, anchor, str(exc))
        return
    wanted, ready = deployment.spec.get("replicas", 1), at(deployment.data, "status").get("readyReplicas") or 0
    wrong = [f"{ready} of {wanted} replicas are ready; kubectl -n {SYSTEM} logs deployment/{GATEWAY}"] if ready < wanted else []
    yield judged(description, anchor, wrong, "error" if not ready else "warning")
    yield _address(service)
    yield _secrets(bindings, served)


def _address(service: Object) -> Check:
    is_waiting = service.spec.get("type") == "LoadBalancer" and not at(service.data, "status", "loadBalancer").get("ingress")
    return judged("clients have an address to come in by", "gateway-address", [
        f"the Service {service.name} waits for a load balancer, which this cluster may not have; "
        "bartizan install --set gateway.ingress=true --set gateway.service.type=NodePort"] if is_waiting else [], "warning")


def _gateways(kubectl: Kubectl) -> list[Object]:
    """Ours; none, where the cluster does not know the Gateway API."""
    try:
        classes = {one.name for one in map(Object, kubectl.list("gatewayclasses.gateway.networking.k8s.io"))
                   if one.spec.get("controllerName") == GATEWAY_CONTROLLER}
        found = [Object(one) for one in kubectl.list("gateways.gateway.networking.k8s.io")]
    except NotFound:
        return []
    return [one for one in found if one.spec.get("gatewayClassName") in classes]


def _secrets(bindings: list[dict[str, object]], served: list[Object]) -> Check:
    readable = {one.namespace for one in map(Object, bindings) if at(one.data, "roleRef").get("name") == SECRETS_ROLE}
    return judged("the certificates that Ingresses and Gateways name may be read", "gateway-secrets", (
        f"{one.data['kind']} {one.namespace}/{one.name} names the Secret {namespace}/{name}; its hosts have no certificate before the "
        f"namespace is one of `secretNamespaces`"
        for one in served for namespace, name in _named(one) if namespace not in readable
    ), "warning")


def _named(one: Object) -> Iterator[tuple[str, str]]:
    """The Secrets of the certificates of an Ingress or a Gateway."""
    for tls in objects(one.spec.get("tls"), "spec.tls"):
        if tls.get("secretName"):
            yield one.namespace, tls["secretName"]
    for listener in objects(one.spec.get("listeners"), "spec.listeners"):
        for ref in objects(at(listener, "tls").get("certificateRefs"), "tls.certificateRefs"):
            if ref.get("kind", "Secret") == "Secret":
                yield ref.get("namespace", one.namespace), ref["name"]
