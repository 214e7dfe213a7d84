"""Manifests of the pods of these tests: plain ones, as an application team writes them."""

from collections.abc import Mapping
from typing import Any

from .kubectl import Object

HTTP, TCP, GRPC = 8080, 9000, 9090
# As every server on Kubernetes does that loses no request: it goes on until nobody is led to it any more.
LEAVES_IN_ORDER: Object = {"lifecycle": {"preStop": {"sleep": {"seconds": 2}}}}


def container(image: str, *command: str, **more: Any) -> Object:
    """The application, as its image starts it, or another command in its image."""
    probe = {} if command else {"readinessProbe": {"httpGet": {"path": "/healthz", "port": HTTP}, "periodSeconds": 1}}
    return {"name": "app", "image": image, "imagePullPolicy": "IfNotPresent", **({"command": list(command)} if command else {}),
            **probe, **more}


def template(app: Object, name: str, annotations: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None,
             **spec: Any) -> Object:
    return {"metadata": {"labels": {"app": name, **(labels or {})}, "annotations": dict(annotations or {})},
            "spec": {"serviceAccountName": name, "terminationGracePeriodSeconds": 5, "containers": [app], **spec}}


def account(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def service(name: str) -> Object:
    ports = {"http": HTTP, "tcp": TCP, "grpc": GRPC}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": {"app": name}, "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": key, "port": port} for key, port in ports.items()]}}


def deployment(name: str, pod: Object, replicas: int = 1, annotations: Mapping[str, str] | None = None, **spec: Any) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "annotations": dict(annotations or {})},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod, **spec}}


def pod(name: str, made: Object) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **made["metadata"]}, "spec": made["spec"]}


def job(name: str, made: Object) -> Object:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": _job(made)}


def cron_job(name: str, made: Object) -> Object:
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
            "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": _job(made)}}}


def _job(made: Object) -> Object:
    return {"backoffLimit": 0, "template": {**made, "spec": {**made["spec"], "restartPolicy": "Never"}}}
