"""Objects of the Gateway API for tests, as people write them."""

from typing import Any

from injector.cluster import Cluster
from injector.compile.gateway_api import GatewayApi, GatewayBook
from injector.compile.last_good import LastGood
from tests.helpers import pki

Json = dict[str, Any]
API = "gateway.networking.k8s.io"
CERTIFICATE = pki.issue(pki.authority("edge"), pki.host("a.example.com"))


def gateway_class(name: str = "bartizan", **spec: Any) -> Json:
    return {"kind": "GatewayClass", "metadata": {"name": name}, "spec": {"controllerName": "bartizan.dev/gateway", **spec}}


def listener(name: str = "http", **fields: Any) -> Json:
    return {"name": name, "port": 80, "protocol": "HTTP", **fields}


def secure(name: str = "https", certificate: str = "web-tls", **fields: Any) -> Json:
    return {"name": name, "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": certificate}]}, **fields}


def gateway(*listeners: Json, name: str = "edge", namespace: str = "shop", created: str = "", **spec: Any) -> Json:
    metadata = {"name": name, "namespace": namespace, **({"creationTimestamp": created} if created else {})}
    return {"kind": "Gateway", "metadata": metadata,
            "spec": {"gatewayClassName": "bartizan", "listeners": list(listeners) or [listener()], **spec}}


def route(*rules: Json, name: str = "web", namespace: str = "shop", parents: tuple[Json, ...] = ({"name": "edge"},),
          created: str = "", **spec: Any) -> Json:
    metadata = {"name": name, "namespace": namespace, **({"creationTimestamp": created} if created else {})}
    return {"kind": "HTTPRoute", "metadata": metadata,
            "spec": {"parentRefs": list(parents), "rules": list(rules) or [{"backendRefs": [to()]}], **spec}}


def to(name: str = "web", port: int = 80, **fields: Any) -> Json:
    return {"name": name, "port": port, **fields}


def service(name: str = "web", namespace: str = "shop", port: int = 80, **spec: Any) -> Json:
    return {"kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": {"ports": [{"port": port}], **spec}}


def secret(name: str = "web-tls", namespace: str = "shop") -> Json:
    return {"kind": "Secret", "metadata": {"name": name, "namespace": namespace},
            "stringData": {"tls.crt": CERTIFICATE.chain_pem, "tls.key": CERTIFICATE.key_pem}}


def grant(kind: str, namespace: str, *to: Json, into: str = "data", group: str = API) -> Json:
    return {"kind": "ReferenceGrant", "metadata": {"name": "grant", "namespace": into},
            "spec": {"from": [{"group": group, "kind": kind, "namespace": namespace}], "to": list(to)}}


def read(*objects: Json) -> GatewayApi:
    return read_cluster(Cluster.of([gateway_class(), service(), secret(), *objects]))


def read_cluster(cluster: Cluster) -> GatewayApi:
    return GatewayBook(LastGood()).of(cluster, {})
