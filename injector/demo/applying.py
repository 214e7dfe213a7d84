"""`bartizan demo apply FILE...`: objects for a world that goes on, put there the way the demo's own were.

    POST /v1/apply    a list of objects; answered with a list of what became of each: {"object", "words", "refused"}

Whatever the webhook judges is put before it first. A Deployment whose template is new gets new pods, as a rollout would give it.
Behind a Unix socket in the world's own folder, for the user who started it.
"""

import copy
import json
import socket
from collections.abc import Iterable
from typing import Any

import trio

from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError, ConnectFailed
from sidecar.net.deadline import Deadline
from sidecar.net.service import call_unix, serve_calls
from sidecar.net.socket_stream import SocketStream

from .apiserver import ApiServer, Object, Refused, Webhook
from .errors import DemoError
from .kubelet import Kubelet

SOCKET = "apply.sock"       # in the world's folder
MAX_BYTES = 8 << 20
POD_WITHIN_S = 25.0
HEARD_WITHIN_S = 1.0
AGAIN_S = 0.1


class Applying:
    """
    Args:
        roots: PEM; what the policies of the demo verify outside hosts with, where they name nothing else.
    """

    def __init__(self, api: ApiServer, webhook: Webhook, kubelet: Kubelet, roots: str) -> None:
        self._api = api
        self._webhook = webhook
        self._kubelet = kubelet
        self._roots = roots

    async def serve(self, sock: socket.socket) -> None:
        with Deadline() as deadline:
            await serve_calls(SocketStream(sock), self.answer, deadline, max_body_bytes=MAX_BYTES)

    async def answer(self, call: Call) -> Answer:
        if (call.method, call.path) != ("POST", "/v1/apply"):
            return Answer.error(404, "POST /v1/apply")
        done: list[dict[str, Any]] = []
        for item in json.loads(call.body):
            done.append(await self._apply(item, is_first=not done))
        return Answer(200, json.dumps(done).encode())

    async def _apply(self, item: Object, *, is_first: bool = True) -> dict[str, Any]:
        metadata = item.get("metadata") or {}
        name = "/".join(part for part in (item["kind"], metadata.get("namespace", ""), metadata.get("name", "")) if part)
        patience = trio.current_time() + (0 if is_first else HEARD_WITHIN_S)
        while True:
            try:
                return {"object": name, "words": await self.put(copy.deepcopy(item)), "refused": False}
            except DemoError as exc:
                if not isinstance(exc, Refused) or trio.current_time() >= patience:
                    return {"object": name, "words": str(exc), "refused": True}
            await trio.sleep(AGAIN_S)       # what allows it may be an object before it, which the injector is yet to read

    async def put(self, item: Object) -> str:
        """Apply one object. Returns what was done; DemoError if it was refused or its pods did not come up."""
        with_roots(item, self._roots)
        old = self._api.stored(item)
        warned: list[str] = []
        names = await self._api.apply(item, self._webhook, self._kubelet, warned)
        is_new = old is None or item["kind"] != "Deployment" or old["spec"]["template"] != item["spec"]["template"]
        if item["kind"] == "Deployment" and not names and (is_new or not self._api.pods_of(item)):
            names = await self._api.replace_pods(item, self._webhook, self._kubelet)
        for name in names:
            await self._kubelet.wait_until(name, lambda pod: pod.is_ready, POD_WITHIN_S)
        done = "created" if old is None else "applied"
        ready = f"; ready: {', '.join(names)}" if names else ""
        return "\n    | ".join([done + ready, *warned])


def with_roots(item: Object, roots: str) -> None:
    """The demo's hosts have an authority of their own, which policies name where they name none."""
    hosts = (item.get("spec") or {}).get("hosts") if item.get("kind") == "EgressPolicy" else None
    for host in hosts if isinstance(hosts, list) else ():
        if isinstance(host, dict):
            host.setdefault("caBundle", roots)


def apply(path: str, items: Iterable[Object]) -> list[dict[str, Any]]:
    """Hand objects to the world behind a socket. Returns what became of each; raises DemoError."""
    body = json.dumps(list(items)).encode()
    try:
        answer = trio.run(call_unix, path, "POST", "/v1/apply", body)
    except (ConnectFailed, ConfigError) as exc:
        raise DemoError(f"the world does not take objects: {exc}") from exc
    if answer.status != 200:
        raise DemoError(f"the world answered {answer.status}: {answer.body.decode(errors='replace')[:500]}")
    return list(json.loads(answer.body))
