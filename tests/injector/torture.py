"""One text in every place that a stranger can put it into: the whole body of a request, its object, an annotation of a pod."""

import base64
import json
from typing import Any

import jsonpatch

from injector.cluster import Cluster
from injector.review import review
from injector.settings import Settings

from .pods import egress_policy, namespace

SETTINGS = Settings(roots="PEM")
CLUSTER = Cluster.of([namespace(), egress_policy()])
UID = "u-1"
_OBJECT, _TEXT = '"<object>"', '"<text>"'
_REVIEW = {
    "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
    "request": {"uid": UID, "kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": "shop", "object": "<object>"},
}
ANNOTATIONS = ("routes", "egress", "ports", "endpoints", "exclude", "workload-api", "native-sidecar")


def bodies(data: bytes) -> dict[str, bytes]:
    """The body of a request, for each place. Text that is no Unicode cannot be an annotation: JSON has no way to say it."""
    review = json.dumps(_REVIEW).encode()
    found = {"body": data, "object": review.replace(_OBJECT.encode(), data)}
    try:
        text = json.dumps(data.decode()).encode()
    except UnicodeDecodeError:
        return found
    for name in ANNOTATIONS:
        annotated = json.dumps({
            "metadata": {"annotations": {f"bartizan.dev/{name}": "<text>"}}, "spec": {"containers": [{"name": "app", "image": "a"}]},
        }).encode().replace(_TEXT.encode(), text)
        found[name] = review.replace(_OBJECT.encode(), annotated)
    return found


def verdict(body: bytes) -> str:
    """`400`, `refused`, `patched` or `allowed`, of an answer that is whole: with the request's uid, and a patch that can be applied."""
    return verdict_of(body, *_answer(body))


def _answer(body: bytes) -> tuple[int, bytes]:
    answer = review(body, SETTINGS, CLUSTER)
    return answer.status, answer.body


def verdict_of(body: bytes, status: int, text: bytes) -> str:
    said: dict[str, Any] = json.loads(text)
    if status == 400:
        assert said["error"].startswith("not an AdmissionReview")
        return "400"
    assert status == 200
    request, response = json.loads(body)["request"], said["response"]
    assert response["uid"] == request["uid"]
    if not response["allowed"]:
        assert "patch" not in response
        assert response["status"]["message"].startswith("bartizan: ")
        return "refused"
    if "patch" not in response:
        return "allowed"
    assert response["patchType"] == "JSONPatch"
    patched = jsonpatch.apply_patch(request["object"], json.loads(base64.b64decode(response["patch"])))
    again = json.loads(_answer(json.dumps({**json.loads(body), "request": {**request, "object": patched}}).encode())[1])["response"]
    assert (again["allowed"], "patch" in again) == (True, False)     # twice is once
    return "patched"


def judged(data: bytes) -> str:
    """The verdict in each place: `body=400 object=refused ...`; annotations together where all say the same."""
    found = {place: verdict(body) for place, body in bodies(data).items()}
    annotations = {name: found.pop(name) for name in ANNOTATIONS if name in found}
    if len(set(annotations.values())) == 1:
        annotations = {"annotations": next(iter(annotations.values()))}
    return " ".join(f"{place}={said}" for place, said in {**found, **annotations}.items())
