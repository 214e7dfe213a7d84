"""The ingress gateway, where there is one: whether clients can come in, and whether what Ingresses name can be read."""

from collections.abc import Iterator

from injector.cli.kubectl import Kubectl, KubectlError, NotFound
from injector.cluster.ingress_class import class_of, is_our_class
from injector.cluster.objects import Object, at, objects
from injector.manifests.rbac import SECRETS_ROLE
from injector.settings import GATEWAY, SYSTEM

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
        ingresses = [Object(one) for one in kubectl.list("ingresses.networking.k8s.io")]
    except KubectlError as exc:
        yield failed(description, anchor, str(exc))
        return
    wanted, ready = deployment.spec.get("replicas", 1), at(deployment.data, "status").get("readyReplicas") or 0
    wrong = [f"{ready} of {wanted} replicas are ready; kubectl -n {SYSTEM} logs deployment/{GATEWAY}"] if ready < wanted else []
    yield judged(description, anchor, wrong, "error" if not ready else "warning")
    yield _address(service)
    yield _secrets(bindings, [one for one in ingresses if class_of(one) in classes])


def _address(service: Object) -> Check:
    is_waiting = service.spec.get("type") == "LoadBalancer" and not at(service.data, "status", "loadBalancer").get("ingress")
    return judged("clients have an address to come in by", "gateway-address", [
        f"the Service {service.name} waits for a load balancer, which this cluster may not have; "
        "bartizan install --set gateway.ingress=true --set gateway.service.type=NodePort"] if is_waiting else [], "warning")


def _secrets(bindings: list[dict[str, object]], ingresses: list[Object]) -> Check:
    readable = {one.namespace for one in map(Object, bindings) if at(one.data, "roleRef").get("name") == SECRETS_ROLE}
    return judged("the certificates that Ingresses name may be read", "gateway-secrets", (
        f"Ingress {one.namespace}/{one.name} names the Secret {tls['secretName']}; its hosts have no certificate before the namespace "
        f"is one of `secretNamespaces`"
        for one in ingresses if one.namespace not in readable
        for tls in objects(one.spec.get("tls"), "spec.tls") if tls.get("secretName")
    ), "warning")
