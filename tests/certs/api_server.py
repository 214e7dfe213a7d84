"""An API server's double, over real TLS: objects in a table, with the words that a real one (1.36) was seen to answer.

What the two have in common is tried against a real one by tests/e2e/kubernetes; here stands what a real one cannot be made to do.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from certs.kubernetes import ApiServer
from sidecar.model.call import Answer, Call
from sidecar.net.service import serve_https
from sidecar.net.tls_context import ServerCredentials
from tests.helpers import pki

from .support import POD_UID

Object = dict[str, Any]
CA = pki.authority("kubernetes")
SERVING = pki.issue(CA, pki.host("127.0.0.1"))
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
OURS = "the issuer's own token"
ADDRESS = "10.244.0.7"
POD_PATH = "/api/v1/namespaces/shop/pods/web-0"
FAILURES = {
    401: "Unauthorized", 404: "{path} not found",
    409: "Operation cannot be fulfilled on {path}: the object has been modified; please apply your changes to the latest version "
         "and try again",
}


class ApiServerDouble:
    """
    Attributes:
        objects: by path, without the query.
        users: who proves what by which token, as `status.user` of a TokenReview has it.
        calls: all that came.
        before: called with each call first; an Answer of its is the answer.
        is_mute: it takes calls and never answers.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.users: dict[str, Object] = {}
        self.calls: list[Call] = []
        self.before: Callable[[Call], Answer | None] = lambda call: None
        self.is_mute = False
        self._version = 0

    def put(self, path: str, made: Object) -> None:
        self._version += 1
        made.setdefault("metadata", {})["resourceVersion"] = str(self._version)
        self.objects[path] = made

    async def answer(self, call: Call) -> Answer:
        self.calls.append(call)
        if self.is_mute:
            await trio.sleep_forever()
        if (answer := self.before(call)) is not None:
            return answer
        if call.headers.get("authorization") != f"Bearer {OURS}":
            return failure(401, call.path)
        if call.path == TOKEN_REVIEWS:
            return Answer(201, json.dumps({"status": self._review(json.loads(call.body)["spec"])}).encode())
        if call.path in COLLECTIONS:
            return self._list(call)
        path = call.path.removesuffix("/status").removesuffix("/approval")
        found = self.objects.get(path)
        if found is None and call.headers.get("content-type") == "application/apply-patch+yaml":
            self.put(path, json.loads(call.body))
            return Answer(201, json.dumps(self.objects[path]).encode())
        if found is None:
            return failure(404, path)
        if call.method == "PATCH":
            patch, current = json.loads(call.body), found["metadata"]["resourceVersion"]
            if patch.get("metadata", {}).get("resourceVersion", current) != current:
                return failure(409, path)
            self.put(path, merged(found, patch))
        return Answer(200, json.dumps(self.objects[path]).encode())

    def _review(self, spec: Object) -> Object:
        user = self.users.get(spec["token"])
        if user is None:
            return {"user": {}, "error": "invalid bearer token"}
        return {"authenticated": True, "user": user, "audiences": spec["audiences"]}

    def _list(self, call: Call) -> Answer:
        """One object a page, so that every list is read page by page."""
        names = sorted(path for path in self.objects if path.startswith(f"{call.path}/"))
        start = int(call.query.rpartition("continue=")[2] or 0)
        rest = {"continue": str(start + 1)} if start + 1 < len(names) else {}
        return Answer(200, json.dumps({"metadata": rest, "items": [self.objects[name] for name in names[start:start + 1]]}).encode())


COLLECTIONS = ("/apis/certificates.k8s.io/v1/certificatesigningrequests",)


def failure(status: int, path: str) -> Answer:
    message = FAILURES[status].format(path=path)
    return Answer(status, json.dumps({"kind": "Status", "status": "Failure", "message": message, "code": status}).encode())


def merged(target: Object, patch: Object) -> Object:
    """RFC 7396."""
    result = {name: value for name, value in target.items() if name not in patch or patch[name] is not None}
    for name, value in patch.items():
        if isinstance(value, dict):
            below = result.get(name)
            result[name] = merged(below if isinstance(below, dict) else {}, value)
        elif value is not None:
            result[name] = value
    return result


def bound_user(account: str = "web", uid: str = POD_UID, **extra: list[str] | None) -> Object:
    """What the API server says of a token that is bound to web-0; a part of `extra` that is changed to None is left out."""
    words = {"pod-name": ["web-0"], "pod-uid": [uid], "node-name": ["one"]}
    words |= {name.replace("_", "-"): value for name, value in extra.items()}
    return {
        "username": f"system:serviceaccount:shop:{account}", "uid": "8cf8efd1",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
        "extra": {f"authentication.kubernetes.io/{name}": value for name, value in words.items() if value is not None},
    }


def pod(phase: str = "Running", *, uid: str = POD_UID, account: str = "web", ips: tuple[str, ...] = (ADDRESS,), ends: str = "") -> Object:
    return {
        "metadata": {"name": "web-0", "namespace": "shop", "uid": uid, **({"deletionTimestamp": ends} if ends else {})},
        "spec": {"serviceAccountName": account, "containers": [{"name": "app"}]},
        "status": {"phase": phase, **({"podIPs": [{"ip": ip} for ip in ips]} if ips else {})},
    }


@asynccontextmanager
async def api_server(folder: Path) -> AsyncIterator[tuple[ApiServerDouble, ApiServer]]:
    """One that serves, and where it is."""
    double = ApiServerDouble()
    credentials = ServerCredentials(SERVING.chain, SERVING.key)
    (folder / "kube-ca.pem").write_text(CA.chain_pem)
    (folder / "kube-token").write_text(OURS + "\n")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            async def serve(task_status: trio.TaskStatus[int]) -> None:
                await serve_https("127.0.0.1", 0, lambda: credentials, double.answer, max_body_bytes=1 << 20, task_status=task_status)

            port = await nursery.start(serve)
            yield double, ApiServer(f"https://127.0.0.1:{port}", str(folder / "kube-ca.pem"), str(folder / "kube-token"))
            nursery.cancel_scope.cancel()

