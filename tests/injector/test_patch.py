import copy
import json
from pathlib import Path
from typing import Any

import jsonpatch
import msgspec
import pytest

from injector.compile.mesh import MeshSettings
from injector.containers import PRIVATE_VOLUME, TOKEN_VOLUME, WORKLOAD_VOLUME, application_mount, probes_of
from injector.patch import patch_pod
from injector.probes import restored
from injector.settings import Settings
from injector.validate import Invalid
from sidecar.model.config import Probe

from .pods import container, pod

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = Settings(image="registry.example/bartizan:1", roots="-----BEGIN CERTIFICATE-----\n")


def _patched(data: dict[str, Any], settings: Settings = SETTINGS) -> dict[str, Any]:
    before = copy.deepcopy(data)
    patch = patch_pod(data, "shop", settings)
    assert data == before
    found = jsonpatch.apply_patch(data, patch.operations)
    assert found == patch.value
    assert isinstance(found, dict)
    return found


def _probes(patched: dict[str, Any]) -> dict[str, Probe]:
    return probes_of(patched["spec"]["initContainers"][1])


@pytest.mark.parametrize("name", ["uid", "mark"])
def test_the_patched_pod_is_the_golden_one(name: str) -> None:
    settings = Settings(image=SETTINGS.image, roots=SETTINGS.roots, bypass="mark" if name == "mark" else "uid")
    found = _patched(pod(initContainers=[{"name": "migrate", "image": "orders"}]), settings)
    assert found == json.loads((GOLDEN / f"pod-{name}.json").read_text())


PODS = [
    pod(),
    pod(initContainers=None, volumes=None, securityContext=None),
    pod(initContainers=[container(name="migrate")], volumes=[{"name": "v", "emptyDir": {}}]),
    pod(containers=[container(securityContext={"capabilities": {"drop": ["CAP_NET_RAW"], "add": ["CHOWN"]}})]),
    pod(containers=[container(securityContext={"capabilities": {"drop": ["ALL"]}}), container(name="b", livenessProbe={"exec": {}})]),
    {"spec": {"containers": [{"name": "a"}]}},
]


@pytest.mark.parametrize("data", PODS)
@pytest.mark.parametrize("settings", [SETTINGS, Settings(bypass="mark", net_raw=True)])
def test_patching_twice_is_patching_once(data: dict[str, Any], settings: Settings) -> None:
    once = _patched(data, settings)
    assert patch_pod(once, "shop", settings).operations == []
    named = copy.deepcopy(once)
    named.setdefault("metadata", {})["name"] = "another-name"
    assert patch_pod(named, "shop", settings).operations == []


def _asking(**spec: Any) -> dict[str, Any]:
    data = pod(**spec)
    data["metadata"]["annotations"]["bartizan.dev/workload-api"] = "enabled"
    return data


def _env(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container.get("env", [])}


def test_who_asks_for_the_workload_api_gets_it_in_every_container() -> None:
    data = _asking(
        initContainers=[container(name="migrate")],
        containers=[container(name="app", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                    container(name="own", env=[{"name": "A", "value": "a"}, {"name": "SPIFFE_ENDPOINT_SOCKET", "value": "unix:///spire"}])],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    spec = _patched(data)["spec"]
    _, sidecar, migrate = spec["initContainers"]
    app, own = spec["containers"]
    mounted = [mount for mount in sidecar["volumeMounts"] if mount["name"] == WORKLOAD_VOLUME]
    assert mounted == [{"name": WORKLOAD_VOLUME, "mountPath": "/run/bartizan/workload"}]
    assert json.loads(_env(sidecar)["BARTIZAN_CONFIG"])["workloadApi"] == "/run/bartizan/workload/api.sock"
    assert spec["volumes"][-1] == {"name": WORKLOAD_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    for one in (migrate, app, own):
        assert one["volumeMounts"][-1] == {"name": WORKLOAD_VOLUME, "mountPath": "/run/bartizan/workload", "readOnly": True}
    socket = {"SPIFFE_ENDPOINT_SOCKET": "unix:///run/bartizan/workload/api.sock"}
    assert [_env(one) for one in (migrate, app, own)] == [socket, socket, {"A": "a", "SPIFFE_ENDPOINT_SOCKET": "unix:///spire"}]
    assert WORKLOAD_VOLUME in json.loads(_patched(data)["metadata"]["annotations"]["bartizan.dev/status"])["volumes"]


def test_who_does_not_ask_has_nothing_of_it() -> None:
    assert WORKLOAD_VOLUME not in json.dumps(_patched(pod()))
    assert "SPIFFE" not in json.dumps(_patched(pod()))


@pytest.mark.parametrize("settings", [SETTINGS, Settings(bypass="mark")])
def test_patching_twice_is_patching_once_with_the_workload_api(settings: Settings) -> None:
    once = _patched(_asking(initContainers=[container(name="migrate")]), settings)
    assert patch_pod(once, "shop", settings).operations == []
    once["spec"]["containers"].append(container(name="late"))      # by a webhook that is called between
    again = _patched(once, settings)
    assert application_mount() in again["spec"]["containers"][1]["volumeMounts"]


@pytest.mark.parametrize("value", ["", "disabled", "true", "Enabled", "enabled ", "- enabled"])
def test_another_word_than_enabled_is_refused(value: str) -> None:
    data = pod()
    data["metadata"]["annotations"]["bartizan.dev/workload-api"] = value
    with pytest.raises(Invalid, match=r'bartizan.dev/workload-api: ".*" is not valid; (did you mean "enabled"|known here: enabled)'):
        patch_pod(data, "shop", SETTINGS)


def test_taking_the_wish_back_does_not_take_the_parts_away_unseen() -> None:
    """The annotation taken out of a patched pod leaves parts that nobody asked for."""
    once = _patched(_asking())
    del once["metadata"]["annotations"]["bartizan.dev/workload-api"]
    with pytest.raises(Invalid, match="bartizan-"):
        patch_pod(once, "shop", SETTINGS)


def test_ours_come_first_and_nothing_of_the_users_moves() -> None:
    found = _patched(pod(initContainers=[container(name="a"), container(name="b")], volumes=[{"name": "v", "emptyDir": {}}]))
    assert [one["name"] for one in found["spec"]["initContainers"]] == ["bartizan-interception", "bartizan-sidecar", "a", "b"]
    assert [one["name"] for one in found["spec"]["volumes"]] == ["v", "bartizan-private", "bartizan-token", "bartizan-roots"]
    assert [one["name"] for one in found["spec"]["containers"]] == ["app"]


def test_a_container_that_another_webhook_put_first_goes_behind_ours() -> None:
    once = _patched(pod())
    once["spec"]["initContainers"].insert(0, container(name="vault", securityContext={"capabilities": {"drop": ["ALL"]}}))
    found = _patched(once)
    assert [one["name"] for one in found["spec"]["initContainers"]] == ["bartizan-interception", "bartizan-sidecar", "vault"]


def test_what_the_api_server_adds_on_the_way_is_no_difference() -> None:
    once = _patched(pod())
    for one in once["spec"]["initContainers"]:
        mount = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
        one["volumeMounts"] = [*one.get("volumeMounts", []), mount]
    assert patch_pod(once, "shop", SETTINGS).operations == []


def _change(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    data = _patched(pod())
    found = data["spec"]
    for step in path[:-1]:
        found = found[step]
    found[path[-1]] = value
    return data


@pytest.mark.parametrize(
    "data",
    [
        pod(initContainers=[container(name="bartizan-sidecar")]),
        pod(initContainers=[container(name="bartizan-interception")]),
        pod(volumes=[{"name": PRIVATE_VOLUME, "emptyDir": {}}]),
        pod(volumes=[{"name": TOKEN_VOLUME, "hostPath": {"path": "/x"}}]),
        pod(volumes=[{"name": WORKLOAD_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]),     # nobody asked for it
        _change(("initContainers", 1, "image"), "evil"),
        _change(("initContainers", 0, "args"), ["intercept", "--exempt-uid", "1000"]),
        _change(("initContainers", 1, "securityContext", "runAsUser"), 1000),
        _change(("initContainers", 1, "command"), ["sleep"]),
        _change(("initContainers", 1, "restartPolicy"), None),
        _change(("initContainers", 1, "lifecycle"), {"postStart": {"exec": {"command": ["x"]}}}),
        _change(("initContainers", 1, "volumeMounts"), []),
        _change(("initContainers", 1, "env", 2, "value"), "{}"),
        _change(("initContainers", 1, "env", 2, "value"), "[" * 100_000),
        _change(("initContainers", 1, "readinessProbe", "periodSeconds"), 3600),
        _change(("initContainers",), [container(name="bartizan-sidecar"), container(name="bartizan-interception")]),
        _change(("initContainers",), [*_patched(pod())["spec"]["initContainers"], container(name="bartizan-sidecar")]),
    ],
)
def test_a_look_alike_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"bartizan-|the sidecar's; ask"):
        patch_pod(data, "shop", SETTINGS)


def test_the_kubelets_probes_and_hooks_go_to_the_sidecar_of_every_container() -> None:
    asked = {"livenessProbe": {"grpc": {"port": 9090}}, "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/quit"}}}}
    own_sidecar = container(name="side", restartPolicy="Always", startupProbe={"tcpSocket": {"port": 5432}})
    found = _patched(pod(containers=[container(**asked), container(name="b", **copy.deepcopy(asked))], initContainers=[own_sidecar]))
    probes = _probes(found)
    assert {path: (probe.by, probe.port) for path, probe in probes.items()} == {
        "/app-health/side/startupz": ("tcp", 5432), "/app-health/app/livez": ("grpc", 9090), "/app-health/b/livez": ("grpc", 9090),
        "/app-health/app/prestop": ("http", 80), "/app-health/b/prestop": ("http", 80)}
    words = {probe.word for probe in probes.values()}
    assert len(words) == 3      # none, and one of its own for each hook
    assert patch_pod(found, "shop", SETTINGS).operations == []
    originals = [restored(one, probes) for one in (found["spec"]["initContainers"][2], *found["spec"]["containers"])]
    assert originals[0]["startupProbe"] == own_sidecar["startupProbe"]
    assert [one["livenessProbe"] for one in originals[1:]] == [{"grpc": {"port": 9090, "service": ""}}] * 2


@pytest.mark.parametrize("probe", [
    {"httpGet": {"port": 80, "path": "/"}}, {"httpGet": {"port": 80}}, {"grpc": {"port": 80, "service": ""}}, {"tcpSocket": {"port": 80}},
])
def test_probes_are_written_alike_wherever_their_text_comes_from(probe: dict[str, Any]) -> None:
    """Rendered from JSON that was just read, from literals, or from the sidecar's own configuration: the same bytes."""
    data = pod(containers=[container(livenessProbe=probe)])
    once = _patched(data)
    assert patch_pod(msgspec.json.decode(msgspec.json.encode(data)), "shop", SETTINGS).value == once
    assert patch_pod(msgspec.json.decode(msgspec.json.encode(once)), "shop", SETTINGS).operations == []


def test_more_probes_than_the_sidecar_can_be_told_are_refused() -> None:
    probe = {"httpGet": {"port": 80, "path": "/" + "x" * 8000}}
    with pytest.raises(Invalid, match="probes and hooks take"):
        patch_pod(pod(containers=[container(name=f"c{number}", livenessProbe=probe) for number in range(9)]), "shop", SETTINGS)


@pytest.mark.parametrize(
    ("capabilities", "dropped"),
    [
        (None, ["NET_ADMIN", "NET_RAW"]), ({"drop": ["ALL"]}, ["ALL"]), ({"drop": ["NET_RAW"]}, ["NET_RAW", "NET_ADMIN"]),
        ({"add": ["CHOWN"]}, ["NET_ADMIN", "NET_RAW"]), ({"drop": ["cap_net_raw", "NET_ADMIN"]}, ["cap_net_raw", "NET_ADMIN", "NET_RAW"]),
    ],
)
def test_packet_capabilities_are_taken_from_everybody_else(capabilities: object, dropped: list[str]) -> None:
    found = _patched(pod(containers=[container(securityContext={"capabilities": capabilities})]))
    assert found["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"] == dropped


@pytest.mark.parametrize("data", PODS)
def test_strict_sets_what_is_not_said_and_patching_twice_is_patching_once(data: dict[str, Any]) -> None:
    strict = MeshSettings(hardening="strict")
    once = patch_pod(data, "shop", SETTINGS, strict)
    assert jsonpatch.apply_patch(data, once.operations) == once.value
    assert patch_pod(once.value, "shop", SETTINGS, strict).operations == []
    for one in (*once.value["spec"]["initContainers"][2:], *once.value["spec"]["containers"]):
        security = one["securityContext"]
        dropped = set(security["capabilities"]["drop"])
        assert dropped >= {"NET_ADMIN", "NET_RAW", "SETUID", "SETGID"} or "ALL" in dropped
        assert security["allowPrivilegeEscalation"] is False
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_annotations_become_json_and_ours_are_written() -> None:
    data = pod()
    data["metadata"]["annotations"]["bartizan.dev/status"] = "forged"
    annotations = _patched(data)["metadata"]["annotations"]
    assert json.loads(annotations["bartizan.dev/routes"]) == [{"name": "read", "port": 8080, "allow": [{"serviceAccount": "web"}]}]
    assert annotations["bartizan.dev/roots"] == SETTINGS.roots
    assert json.loads(annotations["bartizan.dev/status"])["containers"] == ["bartizan-interception", "bartizan-sidecar"]


def test_every_wrong_annotation_is_named() -> None:
    data = pod()
    data["metadata"]["annotations"] = {"bartizan.dev/routes": "{", "bartizan.dev/egress": "- x"}
    with pytest.raises(Invalid) as caught:
        patch_pod(data, "shop", SETTINGS)
    assert {problem.source for problem in caught.value.problems} == {"bartizan.dev/routes", "bartizan.dev/egress"}


# -- what comes back from the API server, from another webhook, from kubectl


def test_a_container_with_a_probe_that_comes_late_is_asked_for_too() -> None:
    once = _patched(pod())
    once["spec"]["containers"].append(container(name="late", livenessProbe={"httpGet": {"port": 81}}))
    again = _patched(once)
    assert set(_probes(again)) == {"/app-health/app/readyz", "/app-health/late/livez"}
    assert patch_pod(again, "shop", SETTINGS).operations == []


def _copied(data: dict[str, Any], *, kept: bool = False) -> dict[str, Any]:
    """As `kubectl debug --copy-to` makes it: without labels, annotations and probes, with our containers and a new one."""
    spec = copy.deepcopy(data["spec"])
    for one in spec["containers"]:
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            one.pop(probe, None)
    spec["containers"].append(container(name="debugger-x7"))
    return {"metadata": {"name": "copy", "annotations": dict(data["metadata"]["annotations"]) if kept else {}}, "spec": spec}


@pytest.mark.parametrize("kept", [True, False])
def test_a_debugging_copy_is_a_pod_of_the_mesh(kept: bool) -> None:
    found = _patched(_copied(_patched(pod()), kept=kept))
    assert _probes(found) == {}
    assert found["metadata"]["annotations"]["bartizan.dev/roots"] == SETTINGS.roots
    assert json.loads(found["metadata"]["annotations"]["bartizan.dev/status"])["form"] == "native"
    assert found["spec"]["containers"][1]["securityContext"]["capabilities"]["drop"] == ["NET_ADMIN", "NET_RAW"]


def test_a_debugging_copy_that_has_lost_what_ours_rest_on_says_how_to_make_it() -> None:
    with pytest.raises(Invalid, match="--keep-annotations, or --keep-init-containers=false"):
        _patched(_copied(_patched(_asking())))
    without = _copied(_patched(pod()))
    without["spec"]["initContainers"] = []
    assert [one["name"] for one in _patched(without)["spec"]["initContainers"]] == ["bartizan-interception", "bartizan-sidecar"]


def test_a_forged_list_of_probes_is_a_look_alike() -> None:
    once = _patched(pod())
    config = once["spec"]["initContainers"][1]["env"][2]
    config["value"] = config["value"].replace('"probes":', '"probes":{},"probes":')
    with pytest.raises(Invalid, match="bartizan-sidecar: the name is ours"):
        patch_pod(once, "shop", SETTINGS)
