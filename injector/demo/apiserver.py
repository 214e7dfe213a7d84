"""The demo's API server: stored objects, admission by the real webhook, and pods for Deployments.

Objects are files in one folder, which is what the injector's directory source watches. A Deployment that is applied, and every
pod, is first put before the webhook: an AdmissionReview v1 over HTTPS, verified. The kubelet is handed the pod that came back and
no other.

The order is that of Kubernetes: names, UIDs and the service account first, then mutating admission, then storage.
"""

import base64
import copy
import json
import os
import random
import re
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from ssl import SSLContext
from typing import Any

import jsonpatch
import trio

from injector.cluster.default_classes import with_classes

from .errors import DemoError
from .kubelet import Kubelet

Object = dict[str, Any]
Key = tuple[str, str, str]   # kind, namespace, name

RESOURCES = {"Pod": ("", "v1", "pods"), "Deployment": ("apps", "v1", "deployments"), "Namespace": ("", "v1", "namespaces"),
             "Ingress": ("networking.k8s.io", "v1", "ingresses"), "HTTPRoute": ("gateway.networking.k8s.io", "v1", "httproutes"),
             "EgressPolicy": ("bartizan.dev", "v1alpha1", "egresspolicies"),
             "MeshPolicy": ("bartizan.dev", "v1alpha1", "meshpolicies")}     # what the webhook is asked about
CLUSTER_SCOPED = frozenset({"Namespace", "EgressPolicy", "MeshPolicy"})
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"   # those that Kubernetes takes for generated names: no word comes of them
WEBHOOK_WITHIN_S = 5


class Refused(DemoError):
    """Admission said no; the text is what a person reads at `kubectl apply`."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """
    Args:
        address: where it listens.
        name: the DNS name that its certificate must be for.
        tls: verifies that certificate, by the roots of now.
    """

    address: tuple[str, int]
    name: str
    path: str
    tls: Callable[[], SSLContext]

    async def review(self, request: Object) -> Object:
        """Send an AdmissionReview. Returns its response."""
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()
        response = json.loads(await self._ask("POST", self.path, body))["response"]
        if response.get("uid") != request["uid"]:
            raise DemoError(f"the webhook answered for request {response.get('uid')!r}, asked was {request['uid']!r}")
        return dict(response)

    async def read(self, path: str) -> str:
        """What else it tells: `/metrics`."""
        return (await self._ask("GET", path, b"")).decode()

    async def _ask(self, method: str, path: str, body: bytes) -> bytes:
        try:
            status, answer = await trio.to_thread.run_sync(partial(self._call, method, path, body))
        except (OSError, HTTPException) as exc:
            raise DemoError(f"the webhook at {self.address[0]}:{self.address[1]} did not answer: {exc}") from exc
        if status != 200:
            raise DemoError(f"the webhook answered {status}: {answer.decode(errors='replace')[:500]}")
        return answer

    def _call(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        connection = _Named(self.address, self.name, self.tls())
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


class _Named(HTTPSConnection):
    """HTTPS to an address, verified for a name."""

    def __init__(self, address: tuple[str, int], name: str, tls: SSLContext) -> None:
        super().__init__(name, address[1], timeout=WEBHOOK_WITHIN_S, context=tls)
        self._address = address
        self._tls = tls

    def connect(self) -> None:
        self.sock = self._tls.wrap_socket(socket.create_connection(self._address, self.timeout), server_hostname=self.host)


class ApiServer:
    """
    Args:
        folder: where the objects are stored; made here.
        changed: called after each change, status included.
    """

    def __init__(self, folder: Path, rng: random.Random, changed: Callable[[], None]) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._rng = rng
        self._objects: dict[Key, Object] = {}
        self._changed = changed

    # -- what is stored

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._objects.get((kind, namespace, name))

    def stored(self, item: Object) -> Object | None:
        """The object of the same kind and name as it is now. DemoError if the name is none."""
        return self._objects.get(_key(_defaulted(item)))

    def all(self, kind: str) -> list[Object]:
        return [item for (found, _, _), item in self._objects.items() if found == kind]

    def store(self, item: Object) -> Object:
        """Keep an object without asking anybody; names and UID are added where they are missing."""
        item = _defaulted(item)
        key = _key(item)
        if (old := self._objects.get(key)) is not None:
            item["metadata"]["uid"] = old["metadata"]["uid"]
        self._objects[key] = item
        path = self._path(key)
        fresh = path.with_suffix(".new")   # a suffix that the directory source does not read
        fresh.write_text(json.dumps(item, indent=1))
        os.replace(fresh, path)
        self._changed()
        return item

    def delete(self, kind: str, namespace: str, name: str) -> None:
        del self._objects[kind, namespace, name]
        self._path((kind, namespace, name)).unlink()
        self._changed()

    def set_status(self, pod_uid: str, status: Object) -> None:
        """What the kubelet reports."""
        for pod in self.all("Pod"):
            if pod["metadata"]["uid"] == pod_uid and pod.get("status") != status:
                self.store({**pod, "status": status})

    def _path(self, key: Key) -> Path:
        return self._folder / f"{'_'.join(part or '-' for part in key)}.json"

    # -- what is asked for

    async def apply(self, item: Object, webhook: Webhook, kubelet: Kubelet, warned: list[str] | None = None) -> list[str]:
        """What `kubectl apply` does to an object. Returns the names of the pods that were made for a Deployment, if it is new.

        Args:
            warned: what admission warns of is added to it.

        Raises: Refused, with nothing stored.
        """
        new = dict(with_classes([_defaulted(item), *self.all("IngressClass")])[0])
        if new["kind"] not in RESOURCES:
            self.store(new)
            return []
        old = self.get(*_key(new))
        if old is not None:
            new["metadata"]["uid"] = old["metadata"]["uid"]
        admitted = self.store(await _admit(new, old, webhook, warned))
        if old is not None or new["kind"] != "Deployment":
            return []
        return await self._create_pods(admitted, webhook, kubelet)

    async def replace_pods(self, item: Object, webhook: Webhook, kubelet: Kubelet) -> list[str]:
        """End the pods of a stored Deployment and make new ones of its template. Returns their names.

        Raises: Refused by the new ones' admission, when the old ones are gone.
        """
        for pod in self.pods_of(item):
            await kubelet.remove(pod["metadata"]["name"])
            self.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        owner = self.stored(item)
        assert owner is not None, "it was applied"
        return await self._create_pods(owner, webhook, kubelet)

    def pods_of(self, item: Object) -> list[Object]:
        """Those of a stored Deployment."""
        owner = self.stored(item)
        uid = owner["metadata"]["uid"] if owner is not None else ""
        return [pod for pod in self.all("Pod") if any(one["uid"] == uid for one in pod["metadata"].get("ownerReferences", ()))]

    async def annotate(self, namespace: str, name: str, annotations: dict[str, str], webhook: Webhook, kubelet: Kubelet) -> None:
        """Change annotations of a Deployment itself; its pods are not replaced."""
        changed = copy.deepcopy(self.get("Deployment", namespace, name) or {})
        if not changed:
            raise DemoError(f"no Deployment {name!r} in namespace {namespace}")
        changed["metadata"].setdefault("annotations", {}).update(annotations)
        await self.apply(changed, webhook, kubelet)

    async def _create_pods(self, owner: Object, webhook: Webhook, kubelet: Kubelet) -> list[str]:
        return [await self._create_pod(owner, webhook, kubelet) for _ in range(owner["spec"].get("replicas", 1))]

    async def _create_pod(self, owner: Object, webhook: Webhook, kubelet: Kubelet) -> str:
        pod = await _admit(pod_of(owner, self._rng), None, webhook)
        self.store(pod)
        kubelet.run(pod)
        return str(pod["metadata"]["name"])


def pod_of(owner: Object, rng: random.Random) -> Object:
    """A pod of a Deployment as it is when mutating admission sees it."""
    template = copy.deepcopy(owner["spec"]["template"])
    base = f"{owner['metadata']['name']}-"
    spec = template["spec"]
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("restartPolicy", "Always")
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            **template.get("metadata", {}),
            "generateName": base,
            "name": base + "".join(rng.choices(NAME_LETTERS, k=5)),
            "namespace": owner["metadata"]["namespace"],
            "uid": str(uuid.uuid4()),
            "ownerReferences": [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
                                 "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": spec,
    }


async def _admit(new: Object, old: Object | None, webhook: Webhook, warned: list[str] | None = None) -> Object:
    """Put an object before the webhook. Returns it with the patch applied, or raises Refused."""
    request = review_request(new, old)
    response = await webhook.review(request)
    if not response.get("allowed"):
        metadata = new["metadata"]
        why = (response.get("status") or {}).get("message") or "without a reason"
        inside = f" in namespace {metadata['namespace']}" if "namespace" in metadata else ""
        raise Refused(f"{new['kind']} {metadata['name']}{inside} was refused: {why}")
    if warned is not None:
        warned += response.get("warnings") or ()
    if "patch" not in response:
        return new
    if response.get("patchType") != "JSONPatch":
        raise DemoError(f"the webhook answered with a patch of type {response.get('patchType')!r}, not JSONPatch")
    patch = json.loads(base64.b64decode(response["patch"], validate=True))
    try:
        return dict(jsonpatch.apply_patch(new, patch))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as exc:
        raise DemoError(f"the webhook's patch does not fit {new['kind']} {new['metadata']['name']}: {exc}") from exc


def review_request(new: Object, old: Object | None) -> Object:
    """The `request` of an AdmissionReview, as an API server fills it."""
    group, version, resource = RESOURCES[new["kind"]]
    kind = {"group": group, "version": version, "kind": new["kind"]}
    what = {"group": group, "version": version, "resource": resource}
    return {
        "uid": str(uuid.uuid4()),
        "kind": kind, "resource": what, "requestKind": kind, "requestResource": what,
        "name": new["metadata"]["name"], "namespace": new["metadata"].get("namespace", ""),
        "operation": "CREATE" if old is None else "UPDATE",
        "userInfo": {"username": "demo", "groups": ["system:authenticated"]},
        "object": new, "oldObject": old, "dryRun": False, "options": None,
    }


_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def _defaulted(item: Object) -> Object:
    """The object with namespace and UID; it becomes a file's name, so its own must be plain."""
    item = copy.deepcopy(item)
    metadata = item.setdefault("metadata", {})
    if item["kind"] not in CLUSTER_SCOPED:
        metadata.setdefault("namespace", "default")
    metadata.setdefault("uid", str(uuid.uuid4()))
    for part in (metadata.get("name", ""), metadata.get("namespace", "x")):
        if not _NAME.fullmatch(part):
            raise DemoError(f"{item['kind']}: {part!r} is no valid name")
    return item


def _key(item: Object) -> Key:
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]
