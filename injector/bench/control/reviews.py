"""What the API server sends to the webhook when a pod is created: an AdmissionReview of a pod as a controller makes it."""

import json
from collections.abc import Iterator
from itertools import count

from .objects import PORT, Object, Size, annotations, app, namespace


def reviews(size: Size) -> Iterator[bytes]:
    """For ever, of each application in turn, each with a uid of its own."""
    for number in count():
        service, team = number % size.services, number // size.services % size.namespaces
        yield json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": f"00000000-0000-4000-8000-{number:012}",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": namespace(team), "operation": "CREATE", "dryRun": False,
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller",
                         "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]},
            "object": _pod(namespace(team), app(service)), "oldObject": None,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        }}).encode()


def _pod(where: str, name: str) -> Object:
    token = {"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    health = {"httpGet": {"path": "/healthz", "port": PORT, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1}
    data = {"name": "data", "mountPath": "/data"}
    application = {
        "name": "app", "image": "app:1", "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{i}", "value": f"value {i}"} for i in range(10)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}, "volumeMounts": [token, data],
        "livenessProbe": health, "readinessProbe": health,
    }
    side = {"name": "logs", "image": "logs:1", "args": ["--folder", "/data"], "volumeMounts": [token, data]}
    sources = [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
               {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
               {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": f"{name}-5d8f-", "namespace": where, "labels": {"app": name, "pod-template-hash": "5d8f"},
                     "annotations": annotations(name),
                     "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-5d8f", "controller": True,
                                          "uid": "00000000-0000-4000-8000-000000000000", "blockOwnerDeletion": True}]},
        "spec": {
            "serviceAccountName": name, "serviceAccount": name, "containers": [application, side], "restartPolicy": "Always",
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": token["name"], "projected": {"sources": sources, "defaultMode": 420}}],
            "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "priority": 0, "terminationGracePeriodSeconds": 30,
            "tolerations": [{"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                            for what in ("not-ready", "unreachable")],
        },
        "status": {},
    }
