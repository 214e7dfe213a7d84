"""The ValidatingAdmissionPolicies alone, on a real API server that has no webhook of ours: nothing but what is genuine enters."""

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from certs.kubernetes import ApiError
from injector.cluster import Cluster as Objects
from injector.cluster.objects import Pod
from injector.compile.mesh import mesh_settings
from injector.decide import Inject, decide
from injector.manifests.backstop import BARE, backstop
from injector.manifests.injector import rendered_by
from injector.manifests.plan import Plan
from injector.opt_outs import config_map
from injector.patch import patch_pod
from injector.settings import Settings
from tests.injector.pods import container, mesh_policy, namespace, pod

from .cluster import SYSTEM, Cluster
from .kubectl import Failed, Kubectl

GROUP = "/apis/admissionregistration.k8s.io/v1"
PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
READY_S = 30.0
WHERE = "guarded"
BY_POLICY = "ValidatingAdmissionPolicy"
FIRST, SECOND = (f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n" for text in ("MIIB", "MIIC"))
ROOTS = FIRST + SECOND
PLAN = Plan(image="bartizan:e2e")
SETTINGS = replace(rendered_by(PLAN), roots=ROOTS)
POLICIES = [
    mesh_policy("out", selector={"matchLabels": {"app": "legacy"}}, optOut=True),
    mesh_policy("out-of-shop", selector={"namespaces": ["shop"]}, optOut=True),
    mesh_policy("not-out", selector={"matchLabels": {"app": "legacy", "tier": "front"}}, optOut=False),
    mesh_policy("passing", selector={"matchLabels": {"app": "clock"}}, udp=[{"cidr": "10.0.0.0/8", "ports": [123]}],
                exclusions={"inboundPorts": [9100], "outboundPorts": [5432], "outboundCidrs": ["203.0.113.0/24"]}),
]
MESH = Objects.of(POLICIES).mesh_policies
Json = dict[str, Any]


@pytest.fixture(scope="module")
def guarded(cluster: Cluster) -> Iterator[Cluster]:
    trio.run(_guard, cluster)
    yield cluster
    trio.run(_unguard, cluster)


async def _guard(cluster: Cluster) -> None:
    await cluster.apply({"kind": "Namespace", "metadata": {"name": WHERE, "labels": {"bartizan.dev/injection": "enabled"}}})
    for account in ("default", "orders"):
        await cluster.account(WHERE, account)
    path, told = config_map(MESH, ROOTS)
    await cluster.admin.create(path.rpartition("/")[0], told, dict)
    for made in backstop(PLAN):
        await cluster.admin.create(f"{GROUP}/{PLURALS[made['kind']]}", made, dict)
    await _until(cluster, pod(), "no sidecar where it belongs")


async def _unguard(cluster: Cluster) -> None:
    for made in backstop(PLAN):
        await cluster.delete(f"{GROUP}/{PLURALS[made['kind']]}/{made['metadata']['name']}", 0)


async def _refusal(cluster: Cluster, data: Json, where: str = WHERE, *, kept: bool = False) -> str:
    """Why it is not admitted; empty: it is. Nothing is kept unless asked for."""
    try:
        await cluster.admin.create(f"/api/v1/namespaces/{where}/pods{'' if kept else '?dryRun=All'}", data, dict)
    except ApiError as exc:
        return str(exc)
    return ""


async def _until(cluster: Cluster, data: Json, words: str, where: str = WHERE) -> None:
    """What is written is in force a moment later."""
    with trio.fail_after(READY_S):
        while True:
            refusal = await _refusal(cluster, data, where)
            if words in refusal if words else refusal == "":
                return
            await trio.sleep(0.1)


def _patched(data: Json | None = None, settings: Settings = SETTINGS) -> Json:
    """As the webhook would have made it, with the MeshPolicies of here."""
    data = data or pod(securityContext={"runAsUser": 1000})
    found = Pod(data)
    return patch_pod(data, WHERE, settings, mesh_settings(MESH, WHERE, found.labels)).value


def _labelled(data: Json, **labels: str) -> Json:
    return {**data, "metadata": {**data["metadata"], "labels": labels}}


def _annotated(name: str, value: str, data: Json | None = None) -> Json:
    found = copy.deepcopy(data or pod())
    found["metadata"].setdefault("annotations", {})[f"bartizan.dev/{name}"] = value
    return found


PROBES = [
    {"httpGet": {"port": "web", "path": '/a"b\\c?d={}[]$(HOME)$$'}}, {"tcpSocket": {"port": 8080}},
    {"httpGet": {"port": 8080, "path": "/ü", "httpHeaders": [{"name": "x-y", "value": "}]"}]}}, {"grpc": {"port": 81, "service": "x"}},
]
HOOKS = {"postStart": {"httpGet": {"port": 8080}}, "preStop": {"httpGet": {"port": 8080, "scheme": "HTTPS"}}}
GENUINE: dict[str, Json] = {
    "plain": _patched(),
    "with init containers": _patched(pod(initContainers=[container(name="migrate")])),
    "with no probes": _patched(pod(containers=[container()])),
    **{f"with the probe {i}": _patched(pod(containers=[
        container(name="a", ports=[{"name": "web", "containerPort": 80}], livenessProbe=probe, readinessProbe=probe, startupProbe=probe),
        container(name="b", readinessProbe={"tcpSocket": {"port": 81}}),
    ])) for i, probe in enumerate(PROBES)},
    "with hooks": _patched(pod(containers=[container(lifecycle=HOOKS)])),
    "with the Workload API": _patched(_annotated("workload-api", "enabled")),
    "in the older form": _patched(_annotated("native-sidecar", "false", pod(initContainers=[container(name="migrate")]))),
    "with what passes": _patched(_annotated("exclude", "{inboundPorts: [9100], outboundCidrs: [203.0.113.8/29]}",
                                            _labelled(pod(), app="clock"))),
    "with one of the roots": _patched(settings=replace(SETTINGS, roots=SECOND)),
    "strict": patch_pod(pod(securityContext={"runAsUser": 1000}), WHERE, SETTINGS,
                        mesh_settings(Objects.of([mesh_policy(hardening="strict")]).mesh_policies, WHERE, {})).value,
}


@pytest.mark.parametrize("name", GENUINE)
async def test_what_the_webhook_makes_is_admitted(guarded: Cluster, name: str) -> None:
    assert await _refusal(guarded, GENUINE[name]) == ""


async def test_it_is_admitted_as_it_comes_back_from_the_api_server(guarded: Cluster) -> None:
    """What its own admission and its defaults add is no difference, to us or to the backstop."""
    for name in ("plain", "in the older form", "with the Workload API"):
        made = copy.deepcopy(GENUINE[name])
        made["metadata"] = {**made["metadata"], "generateName": "kept-"}
        kept = await guarded.admin.create(f"/api/v1/namespaces/{WHERE}/pods", made, dict)
        mounts = [mount["mountPath"] for one in kept["spec"]["initContainers"] for mount in one.get("volumeMounts", [])]
        assert mounts.count("/var/run/secrets/kubernetes.io/serviceaccount") >= 1
        again = {"metadata": {"name": "again", "labels": kept["metadata"]["labels"], "annotations": kept["metadata"]["annotations"]},
                 "spec": kept["spec"]}
        assert patch_pod(again, WHERE, SETTINGS).operations == [], name
        assert await _refusal(guarded, again) == "", name


async def test_an_uninjected_pod_is_refused_and_told_why(guarded: Cluster) -> None:
    refusal = await _refusal(guarded, pod())
    assert BARE in refusal
    assert await _refusal(guarded, pod(initContainers=[container(name="bartizan-sidecar")])) != ""


# -- look-alikes: every field of ours, changed, removed, added


# Where another value of the same type is no value at all.
OTHERWISE = {
    "IfNotPresent": "Never", "RuntimeDefault": "Unconfined", "FallbackToLogsOnError": "File", "HTTP": "HTTPS", "Always": None,
    "50m": "51m", "64Mi": "65Mi", "256Mi": "257Mi", "16Mi": "17Mi", "metadata.uid": "metadata.name", "metadata.name": "metadata.uid",
    "metadata.annotations['bartizan.dev/roots']": "metadata.annotations['mine']", "ALL": "CHOWN", "NET_ADMIN": "SYS_ADMIN",
}


def _changes(value: Any) -> Iterator[Any]:
    """Other values of the same type, one for each leaf."""
    if isinstance(value, dict):
        for key, one in value.items():
            for changed in _changes(one):
                yield {**value, key: changed}
    elif isinstance(value, list):
        for i, one in enumerate(value):
            for changed in _changes(one):
                yield [*value[:i], changed, *value[i + 1:]]
        yield [*value, value[-1]] if value else ["x"]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    else:
        yield OTHERWISE.get(value, f"{value}1")


DEFAULTED = ("imagePullPolicy", "terminationMessagePath")       # to what we write: where they are missing they are ours
ADDED: Json = {
    "command": ["/bin/sh"], "workingDir": "/tmp", "envFrom": [{"secretRef": {"name": "x"}}], "stdin": True, "tty": True,
    "ports": [{"containerPort": 80}], "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}],
}
HOOK = {"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}


def _look_alikes() -> Iterator[tuple[str, Json]]:
    base = GENUINE["plain"]
    for index, ours in enumerate(base["spec"]["initContainers"][:2]):
        def made(change: Json, index: int = index, ours: Json = ours) -> Json:
            data = copy.deepcopy(base)
            data["spec"]["initContainers"][index] = {key: value for key, value in {**ours, **change}.items() if value is not None}
            return data

        for field, value in ours.items():
            for i, changed in enumerate(_changes(value)):
                yield f"{ours['name']} {field} {i}", made({field: changed})
            if field not in DEFAULTED:
                yield f"{ours['name']} without {field}", made({field: None})
        for field, value in (ADDED | (HOOK if index else {})).items():
            yield f"{ours['name']} with {field}", made({field: value})
        mount = {"name": "bartizan-private", "mountPath": "/x"}
        yield f"{ours['name']} with another mount", made({"volumeMounts": [*ours.get("volumeMounts", []), mount]})
    for i, volume in enumerate(base["spec"]["volumes"]):
        for j, changed in enumerate(_changes(volume)):
            data = copy.deepcopy(base)
            data["spec"]["volumes"][i] = changed
            yield f"{volume['name']} {j}", data


def _edited(edit: Callable[[Json], object], name: str = "plain") -> Json:
    data = copy.deepcopy(GENUINE[name])
    edit(data)
    return data


def _inner(data: Json) -> list[Json]:
    found: list[Json] = data["spec"]["initContainers"]
    return found


def _config(old: str, new: str) -> Json:
    def edit(data: Json) -> None:
        config = _inner(data)[1]["env"][2]
        assert old in config["value"]
        config["value"] = config["value"].replace(old, new, 1)

    return _edited(edit)


QUIET = container(name="first", securityContext={"capabilities": {"drop": ["ALL"]}})
ORDERS = {
    "the other way round": _edited(lambda data: data["spec"].update(initContainers=[*reversed(_inner(data))])),
    "behind another": _edited(lambda data: _inner(data).insert(0, QUIET)),
    "with another between": _edited(lambda data: _inner(data).insert(1, QUIET)),
    "without interception": _edited(lambda data: _inner(data).pop(0)),
    "without sidecar": _edited(lambda data: _inner(data).pop(1)),
    "sidecar among the others": _edited(lambda data: data["spec"]["containers"].insert(0, _inner(data).pop(1))),
    "older without the annotation": _edited(lambda data: data["metadata"]["annotations"].pop("bartizan.dev/native-sidecar"),
                                            "in the older form"),
    "older, and restarted": _edited(lambda data: data["spec"]["containers"][0].update(restartPolicy="Always"), "in the older form"),
    "Workload API without the annotation": _edited(lambda data: data["metadata"]["annotations"].pop("bartizan.dev/workload-api"),
                                                   "with the Workload API"),
    "another UID": _edited(lambda data: [one["securityContext"].update(runAsUser=1000, runAsGroup=1000) for one in _inner(data)[1:2]]
                           and _inner(data)[0].update(args=["intercept", "--exempt-uid", "1000"])),
    "a longer UID": _edited(lambda data: _inner(data)[0]["args"].__setitem__(2, _inner(data)[0]["args"][2] + "1")),
    "another stream": _config("bartizan-injector.bartizan-system.svc", "evil.shop.svc"),
    "behind the probes": _config('"probes":{', '"probes":{},"snapshot":{"url":"https://evil.shop.svc"},"x":{'),
    "before the probes": _config('"probes":{', '"logLevel":"x","probes":{'),
    "out of the probes": _config('"/app-health', '"}},"workloadApi":"/tmp/x","y":{"z":{"'),
    "a bracket in a string in the probes": _config('"/ready"', '"/ready\\\\"}}'),
    "the kubelet's words in the probes": _config('"/ready"', '"$(BARTIZAN_POD_NAME)"'),
    "other roots": _annotated("roots", ROOTS.replace("MIIB", "MIID"), GENUINE["plain"]),
    "roots besides": _annotated("roots", ROOTS + ROOTS.replace("MIIB", "x"), GENUINE["plain"]),
    "no roots": _edited(lambda data: data["metadata"]["annotations"].pop("bartizan.dev/roots")),
}
PASSING = {
    f"passing {words}": _edited(lambda data, words=words: _inner(data)[0]["args"].extend(words), name)  # type: ignore[misc]
    for name, words in (
        ("plain", ["--exclude-inbound", "9100"]), ("plain", ["--allow-udp", "10.0.0.0/8:123"]), ("plain", ["--exempt-uid", "1000"]),
        ("with what passes", ["--exclude-inbound", "9101"]), ("with what passes", ["--exclude-outbound", "203.0.112.0/23"]),
        ("with what passes", ["--exclude-outbound=0.0.0.0/0"]), ("with what passes", ["--exclude-outbound", "x"]),
        ("with what passes", ["--allow-udp", "10.0.0.0/8:53"]), ("with what passes", ["--exempt-mark", "1"]),
        ("with what passes", ["--exempt-uid", "1000"]), ("with what passes", ["--exclude-outbound", "203.0.113.0/24 x"]),
    )
}
LOOK_ALIKES = dict(_look_alikes()) | ORDERS | PASSING


async def test_no_look_alike_is_admitted(guarded: Cluster) -> None:
    """Each alone: the genuine one is admitted, and its change is not."""
    refusals = {name: await _refusal(guarded, data) for name, data in LOOK_ALIKES.items()}
    assert "; ".join(name for name, refusal in refusals.items() if not refusal) == ""
    # The rest is no pod to the API server: a mount without its volume, a scheme that there is not.
    assert len([name for name, refusal in refusals.items() if BY_POLICY in refusal]) > 140


async def test_more_of_what_is_allowed_may_pass(guarded: Cluster) -> None:
    for words in (["--exclude-outbound-port", "5432"], ["--exclude-outbound", "203.0.113.128/25"]):
        data = _edited(lambda data, words=words: _inner(data)[0]["args"].extend(words), "with what passes")
        assert await _refusal(guarded, data) == ""


async def test_what_limit_ranger_and_always_pull_images_do_is_no_difference(guarded: Cluster) -> None:
    def edit(data: Json) -> None:
        for one in _inner(data)[:2]:
            one["imagePullPolicy"] = "Always"
            one["resources"] = {"requests": {**one["resources"]["requests"], "ephemeral-storage": "1Gi"},
                                "limits": {"memory": "256Mi", "cpu": "1"}}

    data = _edited(edit)
    assert patch_pod(data, WHERE, SETTINGS).operations == []
    assert await _refusal(guarded, data) == ""


# -- the other containers, and the pod


def _other(**security: Any) -> Json:
    return pod(containers=[container(securityContext=security)])


OTHERS: list[tuple[Json, bool]] = [
    (_other(capabilities={"add": ["CHOWN"]}), True), (_other(capabilities={"drop": ["ALL"]}), True), (_other(runAsUser=1000), True),
    (_other(privileged=False, procMount="Default"), True), (_other(runAsUser=0), True),
    *((_other(capabilities={"add": [name]}), False)
      for name in ("NET_ADMIN", "net_raw", "CAP_NET_ADMIN", "SYS_ADMIN", "ALL", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF",
                   "NET_ADM\u0131N", "\u017fYS_ADMIN")),
    (_other(privileged=True), False), (pod(hostUsers=False, containers=[container(securityContext={"procMount": "Unmasked"})]), False),
    (_other(windowsOptions={"hostProcess": True}), False),
    (pod(hostNetwork=True), False), (pod(hostPID=True), False), (pod(hostIPC=True), False), (pod(shareProcessNamespace=True), False),
    (pod(hostNetwork=False, hostPID=False), True),
    (pod(os={"name": "windows"}), False), (pod(nodeSelector={"kubernetes.io/os": "windows"}), False),
    (pod(os={"name": "linux"}, nodeSelector={"kubernetes.io/os": "linux"}), True),
    (pod(securityContext={"windowsOptions": {"hostProcess": True}}), False),
    (pod(securityContext={"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}]}), False),
    (pod(securityContext={"sysctls": [{"name": "net/ipv4/conf/all/route_localnet", "value": "1"}]}), False),
    (pod(securityContext={"sysctls": [
        {"name": "net.ipv4.tcp_syncookies", "value": "1"}, {"name": "kernel.shm_rmid_forced", "value": "1"}]}), True),
    *((pod(volumes=[{"name": "h", "hostPath": {"path": path}}]), is_admitted) for path, is_admitted in (
        ("/data", True), ("/var/log", True), ("/runner", True), ("/", False), ("/var", False), ("/var/lib/kubelet/pods", False),
        ("//var/./lib/kubelet", False), ("/data/..", False), ("/data/../var/lib/kubelet", False), ("/var/run/containerd/x", False),
        ("/run", False), ("/run/docker.sock", False), ("/proc/1", False), ("/etc", False), ("/etc/ssl", True), ("/home/..data", True),
    )),
    (pod(volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "bartizan", "path": "t"}}]}}]), False),
    (pod(volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "vault", "path": "t"}}]}}]), True),
    *((pod(containers=[container(volumeMounts=[{"name": name, "mountPath": "/x"}])]), False)
      for name in ("bartizan-private", "bartizan-token", "bartizan-roots")),
]


@pytest.mark.parametrize(("data", "is_admitted"), OTHERS)
async def test_the_backstop_and_the_webhook_say_the_same_of_the_others(guarded: Cluster, data: Json, is_admitted: bool) -> None:
    decision = decide(Pod(data), WHERE, namespace()["metadata"]["labels"], mesh=mesh_settings({}, WHERE, {}), settings=SETTINGS)
    assert isinstance(decision, Inject) is is_admitted
    refusal = await _refusal(guarded, _patched(data))
    # hostProcess and Windows beside containers of Linux are no pod at all to the API server, nor is a path with `..`.
    assert refusal == "" if is_admitted else BY_POLICY in refusal or "is invalid: spec" in refusal or "is invalid: [spec" in refusal


async def test_what_the_webhook_sets_for_the_others_is_demanded(guarded: Cluster) -> None:
    for field in ("initContainers", "containers"):
        for drop in ([], ["NET_ADMIN"], ["NET_RAW"], ["CAP_NET_ADMIN", "CAP_NET_RAW"]):
            data = _patched(pod(initContainers=[container(name="migrate")]))
            data["spec"][field][-1]["securityContext"]["capabilities"]["drop"] = drop
            assert "does not drop NET_ADMIN and NET_RAW" in await _refusal(guarded, data)


async def test_nobody_has_the_sidecars_uid(guarded: Cluster) -> None:
    uid = Pod(GENUINE["plain"]).sidecar["securityContext"]["runAsUser"]     # type: ignore[index]
    for where, data in (("container", _edited(lambda data: data["spec"]["containers"][0]["securityContext"].update(runAsUser=uid))),
                        ("pod", _edited(lambda data: data["spec"].update(securityContext={"runAsUser": uid})))):
        assert "runs as the sidecar's UID" in await _refusal(guarded, data), where


# -- out of the mesh


async def test_who_may_stay_out(guarded: Cluster) -> None:
    def out(data: Json, **labels: str) -> Json:
        return {**data, "metadata": {"name": "x", "labels": {"bartizan.dev/injection": "disabled", **labels}}}

    assert "no MeshPolicy" in await _refusal(guarded, out(pod()))
    assert "no MeshPolicy" in await _refusal(guarded, out(pod(), app="legacy", tier="front"))
    assert "no MeshPolicy" in await _refusal(guarded, out(_patched(), app="other"))
    assert await _refusal(guarded, out(pod(), app="legacy")) == ""
    assert await _refusal(guarded, out(pod(hostNetwork=True), app="legacy", tier="back")) == ""
    assert "has a name of the mesh" in await _refusal(guarded, out(pod(initContainers=[container(name="bartizan-sidecar")]), app="legacy"))
    token = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "bartizan", "path": "t"}}]}}]
    assert "audience bartizan" in await _refusal(guarded, out(pod(volumes=token), app="legacy"))


async def test_a_mirror_pod_is_the_kubelets_alone(guarded: Cluster) -> None:
    data = pod(nodeName="one", serviceAccountName=None)
    data["metadata"] = {"name": "etcd-one", "annotations": {"kubernetes.io/config.mirror": "x"}}
    assert "no sidecar where it belongs" in await _refusal(guarded, data)
    data["metadata"]["namespace"] = WHERE
    created = partial(Kubectl(guarded.kubeconfig), "create", "--dry-run=server", "-f", "-", "--as=one", "--as-group=system:masters",
                      stdin=json.dumps(data))
    with pytest.raises(Failed, match="no sidecar where it belongs"):
        created()
    assert "pod/etcd-one created" in created("--as-group=system:nodes")


async def test_other_namespaces_go_on(guarded: Cluster) -> None:
    await guarded.apply(
        {"kind": "Namespace", "metadata": {"name": "elsewhere"}},
        {"kind": "Namespace", "metadata": {
            "name": "other-revision", "labels": {"bartizan.dev/injection": "enabled", "bartizan.dev/rev": "b"}}},
    )
    for where in ("elsewhere", "other-revision"):
        await guarded.account(where, "orders")
    assert await _refusal(guarded, pod(), "elsewhere") == ""
    # What its own control plane would make of it is for that one to say; but where there is none nothing goes in bare.
    assert BARE in await _refusal(guarded, pod(), "other-revision")
    for admitted in (pod(initContainers=[container(name="bartizan-sidecar")]), _labelled(pod(), **{"bartizan.dev/injection": "disabled"})):
        assert await _refusal(guarded, admitted, "other-revision") == ""


async def test_without_the_config_map_no_pod_is_admitted(guarded: Cluster) -> None:
    path, told = config_map(MESH, ROOTS)
    await guarded.delete(path, 0)
    await _until(guarded, GENUINE["plain"], "no params found")
    await guarded.admin.create(path.rpartition("/")[0], {**told, "data": None}, dict)
    await _until(guarded, GENUINE["plain"], "holds a root that is none of the mesh's")
    await guarded.admin.patch(path, {"data": told["data"]}, dict)
    await _until(guarded, GENUINE["plain"], "")


# -- running pods


@pytest.fixture
async def running(guarded: Cluster) -> str:
    """The path of a pod of the mesh."""
    made = copy.deepcopy(GENUINE["plain"])
    made["metadata"]["generateName"] = "running-"
    kept = await guarded.admin.create(f"/api/v1/namespaces/{WHERE}/pods", made, dict)
    return f"/api/v1/namespaces/{WHERE}/pods/{kept['metadata']['name']}"


async def _refused_patch(cluster: Cluster, path: str, body: Json) -> str:
    try:
        await cluster.admin.patch(f"{path}?dryRun=All", body, dict)
    except ApiError as exc:
        return str(exc)
    return ""


async def test_our_containers_and_words_stay(guarded: Cluster, running: str) -> None:
    kept = await guarded.admin.get(running, dict)
    swapped = copy.deepcopy(kept["spec"]["initContainers"])
    swapped[1]["image"] = "evil"
    assert "a container of the mesh would change" in await _refused_patch(guarded, running, {"spec": {"initContainers": swapped}})
    resized = copy.deepcopy(kept["spec"]["initContainers"])
    resized[1]["resources"]["limits"]["memory"] = "1Mi"
    assert await _refused_patch(guarded, f"{running}/resize", {"spec": {"initContainers": resized}}) != ""
    for name in ("status", "roots", "exclude", "workload-api", "native-sidecar"):
        for value in (None, "x") if name in ("status", "roots") else ("x",):
            for sub in ("", "/status"):
                refusal = await _refused_patch(guarded, f"{running}{sub}", {"metadata": {"annotations": {f"bartizan.dev/{name}": value}}})
                assert "is settled when the pod is created" in refusal, (name, value, sub)


async def test_everything_else_of_a_running_pod_goes_on(guarded: Cluster, running: str) -> None:
    kept = await guarded.admin.get(running, dict)
    newer = copy.deepcopy(kept["spec"]["containers"])
    newer[0]["image"] = "orders:2"
    for sub, body in (
        ("", {"spec": {"containers": newer}}), ("", {"metadata": {"labels": {"team": "x"}, "finalizers": ["a.example/b"]}}),
        ("", {"metadata": {"annotations": {"bartizan.dev/routes": "[]", "other": "x"}}}), ("/status", {"status": {"phase": "Running"}}),
    ):
        assert await _refused_patch(guarded, f"{running}{sub}", body) == ""


async def test_a_pod_from_before_goes_on(guarded: Cluster) -> None:
    """Who was there before the label has no sidecar, and is no matter of ours."""
    await guarded.apply({"kind": "Namespace", "metadata": {"name": "late"}})
    await guarded.account("late", "orders")
    data = pod()
    data["metadata"] = {"name": "old"}
    assert await _refusal(guarded, data, "late", kept=True) == ""
    await guarded.admin.patch("/api/v1/namespaces/late", {"metadata": {"labels": {"bartizan.dev/injection": "enabled"}}}, dict)
    await _until(guarded, data, "no sidecar where it belongs", "late")
    path = "/api/v1/namespaces/late/pods/old"
    assert await _refused_patch(guarded, path, {"metadata": {"annotations": {"bartizan.dev/status": "x"}}}) == ""
    debugger = [container(name="debug", securityContext={"capabilities": {"add": ["NET_ADMIN"]}})]
    assert await _refused_patch(guarded, f"{path}/ephemeralcontainers", {"spec": {"ephemeralContainers": debugger}}) == ""


async def test_a_debugging_container_is_held_to_the_same(guarded: Cluster, running: str) -> None:
    uid = Pod(await guarded.admin.get(running, dict)).sidecar["securityContext"]["runAsUser"]       # type: ignore[index]
    dropped = {"capabilities": {"drop": ["ALL"]}}
    for fields, words in (
        ({"securityContext": dropped}, ""), ({"securityContext": dropped, "targetContainerName": "app"}, ""), ({}, "does not drop"),
        ({"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}}, "asks for a capability"),
        ({"securityContext": {**dropped, "privileged": True}}, "is privileged"),
        ({"securityContext": {**dropped, "runAsUser": uid}}, "runs as the sidecar's UID"),
        ({"securityContext": dropped, "targetContainerName": "bartizan-sidecar"}, "would enter a container of the mesh"),
        ({"securityContext": dropped, "volumeMounts": [{"name": "bartizan-private", "mountPath": "/x"}]}, "the sidecar's alone"),
    ):
        body = {"spec": {"ephemeralContainers": [container(name="debug", **fields)]}}
        refusal = await _refused_patch(guarded, f"{running}/ephemeralcontainers", body)
        assert words in refusal if words else refusal == "", refusal


# -- entering, tokens, binding


@pytest.mark.parametrize(("path", "is_ours"), [
    ("exec?container=bartizan-sidecar&command=sh", True), ("exec?container=bartizan-interception&command=sh", True),
    ("attach?container=bartizan-sidecar", True), ("exec?container=app&command=sh", False), ("attach?container=app", False),
    ("portforward?ports=15006", True), ("portforward?ports=8080", False), ("portforward", False),
])
async def test_nobody_enters_ours(guarded: Cluster, running: str, path: str, is_ours: bool) -> None:
    """What is admitted fails later: there is no node."""
    with pytest.raises(ApiError) as caught:
        await guarded.admin.create(f"{running}/{path}", None, dict)
    assert ("nobody enters a container of the mesh" in str(caught.value)) is is_ours


async def test_nobody_but_a_kubelet_asks_for_a_token_of_the_mesh(guarded: Cluster) -> None:
    with pytest.raises(ApiError, match="for kubelets alone"):
        await guarded.token(WHERE, "orders")
    assert await guarded.token(WHERE, "orders", audience="vault")


async def test_a_binding_writes_no_words_of_ours(guarded: Cluster, running: str) -> None:
    def binding(annotations: Json) -> Json:
        return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": running.rpartition("/")[2], "annotations": annotations},
                "target": {"kind": "Node", "name": "one"}}

    for path in (f"{running}/binding", f"/api/v1/namespaces/{WHERE}/bindings"):
        with pytest.raises(ApiError, match="a binding gives its annotations to the pod"):
            await guarded.admin.create(path, binding({"bartizan.dev/roots": "x"}), dict)
    await guarded.admin.create(f"{running}/binding", binding({"other": "x"}), dict)
    assert (await guarded.admin.get(running, dict))["metadata"]["annotations"]["other"] == "x"


async def test_it_is_its_own_namespace_that_is_never_held(guarded: Cluster) -> None:
    """Somebody may label it; what a cluster needs to get well goes on."""
    await guarded.account(SYSTEM, "orders")
    await guarded.admin.patch(f"/api/v1/namespaces/{SYSTEM}", {"metadata": {"labels": {"bartizan.dev/injection": "enabled"}}}, dict)
    assert await _refusal(guarded, pod(), SYSTEM) == ""
    await guarded.admin.patch(f"/api/v1/namespaces/{SYSTEM}", {"metadata": {"labels": {"bartizan.dev/injection": None}}}, dict)
