"""The injector as a process has it, with a real API server as its source and the rights that `install` grants: what is labelled and
annotated counts at once, one of two replicas leads, and Events say what is not in the mesh.
"""

import base64
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from injector.config import InjectorConfig, parse_config
from injector.server import serve
from injector.settings import SYSTEM
from sidecar.model.errors import ConnectFailed
from sidecar.net.dial import Dialer
from sidecar.net.service import call_https
from tests.helpers import pki
from tests.helpers.sockets import free_ports

from .cluster import ISSUER, Cluster
from .test_events import about

WITHIN_S = 60
ROOT = pki.authority("mesh")
SERVING = pki.issue(ROOT, pki.host("127.0.0.1"))


def furnished(folder: Path) -> Path:
    folder.mkdir()
    for name, text in (("roots.pem", ROOT.chain_pem), ("chain.pem", SERVING.chain_pem), ("key.pem", SERVING.key_pem)):
        (folder / name).write_text(text)
    return folder


async def configure(cluster: Cluster, folder: Path) -> InjectorConfig:
    server = cluster.server_for(await cluster.token(SYSTEM, "bartizan-injector", audience=ISSUER))
    webhook, stream, nobody = free_ports(3)
    return parse_config(json.dumps({
        "kubernetes": {"server": server.server, "caFile": server.ca_file, "tokenFile": server.token_file},
        "trustDomain": "example.org", "rootsFile": str(folder / "roots.pem"), "issuerUrl": f"https://127.0.0.1:{nobody}",
        "streamUrl": f"https://127.0.0.1:{stream}", "stateDirectory": str(folder / "state"), "address": "127.0.0.1",
        "chainFile": str(folder / "chain.pem"), "keyFile": str(folder / "key.pem"), "webhookPort": webhook, "streamPort": stream,
    }).encode())


async def admitted(config: InjectorConfig, namespace: str) -> list[Any]:
    """The patch that a new pod gets there. MeshError if nobody answers."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-"},
           "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "image": "app"}]}}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "r", "kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": namespace, "object": pod}}
    url = f"https://127.0.0.1:{config.webhook_port}/mutate"
    answer = await call_https(
        Dialer(), ["127.0.0.1"], url, "POST", roots=[ROOT.certificate], headers=[(b"content-type", b"application/json")],
        body=json.dumps(review).encode())
    response = json.loads(answer.body)["response"]
    assert response["uid"] == "r"
    return list(json.loads(base64.b64decode(response.get("patch", "W10="))))


async def until(holds: Callable[[], Any]) -> Any:
    while True:
        if found := await holds():
            return found
        await trio.sleep(0.05)


async def ready(config: InjectorConfig) -> None:
    url = f"https://127.0.0.1:{config.webhook_port}/healthz"
    while True:
        try:
            if (await call_https(Dialer(), ["127.0.0.1"], url, "GET", roots=[ROOT.certificate])).status == 200:
                return
        except ConnectFailed:
            pass    # not there yet
        await trio.sleep(0.05)


async def test_two_replicas(granted: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    namespace = {"kind": "Namespace", "metadata": {"name": "tide"}}
    await granted.apply(namespace)
    await granted.account("tide", "web")
    bare = await granted.pod("tide", "bare", "web")
    configs = [await configure(granted, furnished(tmp_path / name)) for name in ("one", "two")]
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/bartizan-injector"
    opt_outs = f"/api/v1/namespaces/{SYSTEM}/configmaps/bartizan-opt-outs"
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            for config in configs:
                nursery.start_soon(serve, config)
            for config in configs:
                await ready(config)
                assert await admitted(config, "tide") == []
            labels = {"metadata": {"labels": {"bartizan.dev/injection": "enabled"}}}
            await granted.admin.patch("/api/v1/namespaces/tide", labels, dict)
            for config in configs:
                patch = await until(partial(admitted, config, "tide"))
                assert "bartizan-sidecar" in json.dumps(patch)
            found = await about(granted, bare, bool, namespace="tide")
            assert [(one["reason"], one["count"]) for one in found] == [("InjectionSkipped", 1)]
            assert (await granted.admin.get(leases, dict))["spec"]["holderIdentity"]
            assert "roots" in (await granted.admin.get(opt_outs, dict))["data"]
            policy = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": "tide"},
                      "spec": {"selector": {"namespaces": ["tide"]}, "optOut": True}}
            await granted.admin.create("/apis/bartizan.dev/v1alpha1/meshpolicies", policy, dict)

            async def is_written() -> bool:
                return "tide" in (await granted.admin.get(opt_outs, dict))["data"]["optOut"]

            await until(is_written)
            nursery.cancel_scope.cancel()
    said = capfd.readouterr().err
    assert said.count("leads by the Lease bartizan-injector") == 1
    assert "Traceback" not in said
