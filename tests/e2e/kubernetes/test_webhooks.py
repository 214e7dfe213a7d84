"""The real webhook, asked by a real API server as the manifests say: what it is asked, and what goes on when it does not answer."""

import base64
import copy
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from certs.kubernetes import ApiError
from injector.cluster import Cluster as Objects
from injector.manifests.injector import rendered_by
from injector.manifests.plan import Plan
from injector.manifests.webhooks import webhooks
from injector.patch import patch_pod
from injector.review import MAX_BODY_BYTES
from injector.server import Webhook
from sidecar.model.call import Answer, Call
from sidecar.net.service import serve_https
from sidecar.net.watched import Watched
from tests.helpers import pki
from tests.helpers.sockets import free_ports
from tests.injector.pods import container, egress_policy, namespace, pod

from .cluster import Cluster

GROUP = "/apis/admissionregistration.k8s.io/v1"
PLAN = Plan(image="bartizan:e2e", revision="asked")
WHERE, APART = "asked", "not-asked"
LABELS = {"bartizan.dev/injection": "enabled", "bartizan.dev/rev": "asked"}
SETTINGS = replace(rendered_by(PLAN), roots="PEM")
INGRESS_CLASS = {"kind": "IngressClass", "metadata": {"name": "bartizan"}, "spec": {"controller": "bartizan.dev/ingress"}}
MESH = Objects.of([namespace(WHERE, **LABELS), namespace(APART, x="y"), egress_policy(), INGRESS_CLASS])
AUTHORITY = pki.authority("webhook")
READY_S = 30.0
Json = dict[str, Any]


class Asked:
    """
    Attributes:
        about: path, operation and `resource/subresource` of each call, in order.
    """

    def __init__(self) -> None:
        self.about: list[tuple[str, str, str]] = []
        self._webhook = Webhook(lambda: SETTINGS, Watched(MESH))

    async def answer(self, call: Call) -> Answer:
        request = json.loads(call.body)["request"]
        resource = "/".join(filter(None, (request["resource"]["resource"], request.get("subResource"))))
        self.about.append((call.path, request["operation"], resource))
        return await self._webhook.answer(call)


@pytest.fixture(scope="module")
def registered(cluster: Cluster) -> Iterator[tuple[Cluster, int]]:
    """The configurations as they are printed, but for where the webhook is."""
    port = free_ports(1)[0]
    trio.run(_register, cluster, port)
    yield cluster, port
    trio.run(_forget, cluster)


async def _register(cluster: Cluster, port: int) -> None:
    await cluster.apply(
        {"kind": "Namespace", "metadata": {"name": WHERE, "labels": LABELS}}, {"kind": "Namespace", "metadata": {"name": APART}},
    )
    for where in (WHERE, APART):
        await cluster.account(where, "orders")
    async with _answering(port):
        for made in webhooks(PLAN):
            for hook in made["webhooks"]:
                bundle = base64.b64encode(AUTHORITY.chain_pem.encode()).decode()
                hook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{hook['clientConfig']['service']['path']}", "caBundle": bundle}
            await cluster.admin.create(_collection(made), made, dict)
        with trio.fail_after(READY_S):
            while "routes: line 1" not in await _refusal(cluster, _deployment(_routed("- {}"))):      # noqa: ASYNC110 -- the API server tells nobody
                await trio.sleep(0.1)


async def _forget(cluster: Cluster) -> None:
    for made in webhooks(PLAN):
        await cluster.delete(f"{_collection(made)}/{made['metadata']['name']}", 0)


def _collection(made: Json) -> str:
    return f"{GROUP}/{made['kind'].lower()}s"


@asynccontextmanager
async def _answering(port: int) -> AsyncIterator[Asked]:
    credentials = pki.server_credentials(pki.issue(AUTHORITY, pki.host("127.0.0.1")))
    asked = Asked()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_https, "127.0.0.1", port, lambda: credentials, asked.answer, max_body_bytes=MAX_BODY_BYTES))
        yield asked
        nursery.cancel_scope.cancel()


def _routed(text: str) -> Json:
    data = pod(securityContext={"runAsUser": 1000})
    data["metadata"]["annotations"] = {"bartizan.dev/routes": text}
    return data


def _deployment(template: Json) -> Json:
    template = copy.deepcopy(template)
    template["metadata"] = {"labels": {"app": "orders"}, "annotations": template["metadata"].get("annotations", {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders"}, "spec": {
        "selector": {"matchLabels": {"app": "orders"}}, "template": {"metadata": template["metadata"], "spec": template["spec"]}}}


async def _refusal(cluster: Cluster, data: Json, where: str = WHERE) -> str:
    """Of creating it, which is not kept. Empty: it would be."""
    group = "/api/v1" if data["kind"] == "Pod" else f"/apis/{data['apiVersion']}"
    try:
        await cluster.admin.create(f"{group}/namespaces/{where}/{data['kind'].lower()}s?dryRun=All", data, dict)
    except ApiError as exc:
        return str(exc)
    return ""


async def _changed(cluster: Cluster, path: str, body: Json) -> str:
    try:
        await cluster.admin.patch(path, body, dict)
    except ApiError as exc:
        return str(exc)
    return ""


async def _made_namespace(cluster: Cluster, labels: Json) -> str:
    """Why a new one is refused, which is not kept."""
    try:
        await cluster.admin.create("/api/v1/namespaces?dryRun=All", namespace("new", **labels), dict)
    except ApiError as exc:
        return str(exc)
    return ""


async def _meshed_pod(cluster: Cluster) -> str:
    """The path of one."""
    made = await cluster.admin.create(f"/api/v1/namespaces/{WHERE}/pods", pod(securityContext={"runAsUser": 1000}), dict)
    return f"/api/v1/namespaces/{WHERE}/pods/{made['metadata']['name']}"


async def test_a_pod_comes_out_as_we_patched_it(registered: tuple[Cluster, int]) -> None:
    cluster, port = registered
    data = pod(securityContext={"runAsUser": 1000})
    async with _answering(port) as asked:
        made = await cluster.admin.create(f"/api/v1/namespaces/{WHERE}/pods?dryRun=All", data, dict)
    assert [one["name"] for one in made["spec"]["initContainers"]] == ["bartizan-interception", "bartizan-sidecar"]
    # Nothing to patch any more, whatever the API server added meanwhile: the second webhook admits it as it is.
    assert patch_pod(made, WHERE, SETTINGS).operations == []
    # Again, since the API server has mounted its token into our containers meanwhile.
    assert asked.about == [(way, "CREATE", "pods") for way in ("/mutate", "/mutate", "/validate")]


async def test_kubectl_apply_says_what_is_wrong_with_line_and_nearest_word(registered: tuple[Cluster, int]) -> None:
    cluster, port = registered
    wrong = "- name: read\n  port: 8080\n  alow: [{serviceAccount: web}]\n"
    jobs = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"}, "spec": {
        "schedule": "* * * * *", "jobTemplate": {"spec": {"template": {**_deployment(_routed(wrong))["spec"]["template"]}}}}}
    jobs["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = "Never"      # type: ignore[index]
    async with _answering(port):
        for made in (_deployment(_routed(wrong)), jobs):
            refusal = await _refusal(cluster, made)
            assert 'bartizan.dev/routes: line 3: unknown field "alow" in [0]; did you mean "allow"?' in refusal
        assert await _refusal(cluster, _deployment(_routed(wrong)), APART) == ""        # nobody reads it there


async def test_who_asks_for_a_sidecar_where_there_is_none_is_told(registered: tuple[Cluster, int]) -> None:
    cluster, port = registered
    data = pod()
    data["metadata"]["labels"] = {"bartizan.dev/injection": "enabled"}
    async with _answering(port):
        assert f"kubectl label namespace {APART} bartizan.dev/injection=enabled" in await _refusal(cluster, data, APART)
        assert await _refusal(cluster, pod(), APART) == ""
        path = f"/api/v1/namespaces/{APART}"
        assert 'did you mean "enabled"' in await _changed(cluster, path, {"metadata": {"labels": {"bartizan.dev/injection": "enable"}}})
        for name in ("kube-system", "kube-node-lease"):
            refusal = await _changed(cluster, f"/api/v1/namespaces/{name}", {"metadata": {"labels": LABELS}})
            assert f"{name} is never in the mesh" in refusal


async def test_only_what_needs_an_answer_is_asked(registered: tuple[Cluster, int]) -> None:
    """What a running pod goes through in its life, most of which is no matter of ours."""
    cluster, port = registered
    async with _answering(port) as asked:
        path = await _meshed_pod(cluster)
        kept = await cluster.admin.get(path, dict)
        newer = copy.deepcopy(kept["spec"]["containers"])
        newer[0]["image"] = "orders:2"
        asked.about.clear()
        for sub, body in (
            ("/status", {"status": {"phase": "Running"}}), ("", {"metadata": {"finalizers": ["a.example/b"], "labels": {"x": "y"}}}),
            ("", {"spec": {"containers": newer}}), ("", {"metadata": {"finalizers": []}}),
        ):
            assert await _changed(cluster, f"{path}{sub}", body) == ""
        for way in ("exec?container=app&command=sh", "portforward?ports=8080"):
            with pytest.raises(ApiError, match="does not have a host assigned"):
                await cluster.admin.create(f"{path}/{way}", None, dict)
        await cluster.admin.patch(f"/api/v1/namespaces/{WHERE}", {"metadata": {"labels": {"team": "x"}}}, dict)
        assert await cluster.token(WHERE, "orders", audience="vault")
        assert asked.about == []
        forged = {"metadata": {"annotations": {"bartizan.dev/roots": "x"}}}
        assert "is written at injection" in await _changed(cluster, f"{path}/status", forged)
        assert "line 1" in await _changed(cluster, path, {"metadata": {"annotations": {"bartizan.dev/routes": "- {}"}}})
        for way in ("exec?container=bartizan-sidecar&command=sh", "portforward?ports=15001"):
            with pytest.raises(ApiError, match=r"nobody enters|is the sidecar's"):
                await cluster.admin.create(f"{path}/{way}", None, dict)
        with pytest.raises(ApiError, match="for kubelets alone"):
            await cluster.token(WHERE, "orders")
        assert [about for _, _, about in asked.about] == [
            "pods/status", "pods", "pods/exec", "pods/portforward", "serviceaccounts/token"]


async def test_a_debugging_container_gets_what_the_others_got(registered: tuple[Cluster, int]) -> None:
    cluster, port = registered
    async with _answering(port) as asked:
        path = await _meshed_pod(cluster)
        asked.about.clear()
        made = await cluster.admin.patch(
            f"{path}/ephemeralcontainers", {"spec": {"ephemeralContainers": [container(name="debug")]}}, dict)
    assert made["spec"]["ephemeralContainers"][0]["securityContext"] == {"capabilities": {"drop": ["NET_ADMIN", "NET_RAW"]}}
    assert asked.about == [(way, "UPDATE", "pods/ephemeralcontainers") for way in ("/mutate", "/validate")]


async def test_a_control_plane_that_is_away_stops_what_it_must_decide_and_nothing_else(registered: tuple[Cluster, int]) -> None:
    cluster, port = registered
    async with _answering(port):
        path = await _meshed_pod(cluster)
        deployed = await cluster.admin.create(f"/apis/apps/v1/namespaces/{WHERE}/deployments", _deployment(_routed("[]")), dict)
    deployment = f"/apis/apps/v1/namespaces/{WHERE}/deployments/{deployed['metadata']['name']}"
    for sub, body in (
        ("/status", {"status": {"phase": "Running"}}), ("", {"metadata": {"finalizers": ["a.example/b"]}}),
        ("", {"metadata": {"finalizers": []}}),
    ):
        assert await _changed(cluster, f"{path}{sub}", body) == ""
    assert await _changed(cluster, deployment, {"spec": {"replicas": 3}}) == ""
    assert await _changed(cluster, deployment, {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "2"}}}) == ""
    assert await _refusal(cluster, pod(), APART) == ""
    assert await _refusal(cluster, _deployment(_routed("- {}")), APART) == ""
    assert await _changed(cluster, f"/api/v1/namespaces/{APART}", {"metadata": {"labels": {"team": "x"}}}) == ""
    assert await _made_namespace(cluster, {"team": "x"}) == ""
    with pytest.raises(ApiError, match="does not have a host assigned"):
        await cluster.admin.create(f"{path}/exec?container=app&command=sh", None, dict)
    gone = "failed calling webhook"
    assert gone in await _refusal(cluster, pod())
    assert gone in await _changed(cluster, deployment, {"spec": {"template": {"metadata": {"labels": {"x": "y"}}}}})
    assert gone in await _changed(cluster, f"/api/v1/namespaces/{APART}", {"metadata": {"labels": LABELS}})
    assert gone in await _made_namespace(cluster, LABELS)
    await cluster.delete(path, 0)       # nobody is kept from leaving


async def test_what_is_to_be_served_is_asked_about_where_it_is_ours(registered: tuple[Cluster, int]) -> None:
    cluster, port = registered

    def ingress(path: str = "/app", of: str = "bartizan", **annotations: str) -> Json:
        backend = {"service": {"name": "web", "port": {"number": 80}}}
        return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "annotations": annotations}, "spec": {
            **({"ingressClassName": of} if of else {}),
            "rules": [{"host": "x.test", "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]}}

    plural = "/apis/networking.k8s.io/v1/namespaces/{}/ingresses?dryRun=All"

    async def refusal(data: Json) -> str:
        try:
            await cluster.admin.create(plural.format(APART), data, dict)
        except ApiError as exc:
            return str(exc)
        return ""

    async with _answering(port) as asked:
        assert "spec.rules[0].http.paths[0].path: '/a;b' is no path" in await refusal(ingress("/a;b"))
        assert "did you mean \"maxBody\"?" in await refusal(ingress(of="nginx", **{"bartizan.dev/edge": "maxBdy: 1KiB"}))
        assert "is no path" in await refusal(ingress("/a;b", "", **{"kubernetes.io/ingress.class": "bartizan"}))
        assert asked.about == [("/validate", "CREATE", "ingresses")] * 3
        assert await refusal(ingress("/a;b", of="nginx")) == ""
        assert await refusal(ingress("/a;b", of="")) == ""
        assert len(asked.about) == 3
