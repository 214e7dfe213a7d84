"""Pods and objects for the tests of the injector."""

from typing import Any

ROUTES = "- name: read\n  port: 8080\n  allow: [{serviceAccount: web}]\n"


def pod(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "orders-", "labels": {"app": "orders"}, "annotations": {"bartizan.dev/routes": ROUTES}},
        "spec": {
            "serviceAccountName": "orders",
            "containers": [{
                "name": "app", "image": "orders", "ports": [{"name": "web", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"port": "web", "path": "/ready"}, "periodSeconds": 5},
            }],
            **spec,
        },
    }


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "app", "image": "orders", **fields}


def namespace(name: str = "shop", **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {"bartizan.dev/injection": "enabled"}}}


def egress_policy(name: str = "partners", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": name},
        "spec": {"subjects": [{"namespace": "shop"}], "hosts": [{"host": "*.partner.example"}], **spec},
    }


def mesh_policy(name: str = "default", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": name}, "spec": spec}


def ingress_gateway(name: str = "bartizan-gateway-1", address: str = "10.0.9.9", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "bartizan-system", "name": name, "uid": f"uid-{name}"},
        "spec": {"serviceAccountName": "bartizan-gateway", "containers": [{"name": "gateway", "image": "bartizan:0.1.0"}], **spec},
        "status": {"phase": "Running", "podIP": address},
    }
