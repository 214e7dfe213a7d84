from typing import Any

import pytest

from injector.cluster.objects import Pod
from injector.containers import application_mount, proxy_uid
from injector.decide import Inject, Refuse, Skip, decide
from injector.settings import Settings

from .pods import container, pod

ENABLED = {"bartizan.dev/injection": "enabled"}
UID = proxy_uid(Pod(pod()), "shop")


def _decide(data: dict[str, Any], labels: dict[str, str] = ENABLED, opt_out: bool = False, **settings: Any) -> Inject | Skip | Refuse:
    return decide(Pod(data), "shop", labels, opt_out=opt_out, settings=Settings(**settings))


def _labelled(value: str) -> dict[str, Any]:
    data = pod()
    data["metadata"]["labels"]["bartizan.dev/injection"] = value
    return data


def test_a_plain_pod_of_a_meshed_namespace_is_injected() -> None:
    assert _decide(pod()) == Inject()


def test_a_pod_elsewhere_is_not() -> None:
    assert isinstance(_decide(pod(), {}), Skip)
    assert isinstance(_decide(pod(hostNetwork=True), {}), Skip)


def test_a_wish_that_cannot_be_met_is_not_skipped_silently() -> None:
    decision = _decide(_labelled("enabled"), {})
    assert isinstance(decision, Refuse)
    assert "kubectl label namespace shop" in decision.reasons[0]


def test_an_app_team_cannot_opt_out_by_itself() -> None:
    assert isinstance(_decide(_labelled("disabled")), Refuse)
    assert isinstance(_decide(_labelled("disabled"), opt_out=True), Skip)


def test_a_mirror_pod_is_left_alone() -> None:
    data = pod()
    data["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert isinstance(_decide(data), Skip)


TOKEN = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "bartizan", "path": "t"}}]}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"shareProcessNamespace": True}, "shareProcessNamespace"),
        ({"volumes": [TOKEN]}, "audience bartizan"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/var/lib/kubelet/pods"}}]}, "/var/lib/kubelet"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "//var/./lib"}}]}, "other pods' secrets"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, "other pods' secrets"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/data/../var"}}]}, "other pods' secrets"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/var/run/docker.sock"}}]}, "other pods' secrets"),
        ({"securityContext": {"runAsUser": UID}}, "the sidecar's UID"),
    ],
)
def test_a_pod_that_could_get_round_the_sidecar_is_refused(spec: dict[str, Any], words: str) -> None:
    decision = _decide(pod(**spec))
    assert isinstance(decision, Refuse)
    assert words in decision.reasons[0]


BAD_CONTAINERS = [
    ({"securityContext": {"privileged": True}}, "privileged"),
    ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "NET_ADMIN"),
    ({"securityContext": {"capabilities": {"add": ["CAP_net_raw"]}}}, "NET_RAW"),
    ({"securityContext": {"capabilities": {"add": ["ALL"]}}}, "ALL"),
    ({"securityContext": {"procMount": "Unmasked"}}, "procMount"),
    ({"securityContext": {"runAsUser": UID}}, "the sidecar's UID"),
    ({"volumeMounts": [{"name": "bartizan-token", "mountPath": "/t"}]}, "the sidecar's alone"),
    ({"volumeMounts": [{"name": "bartizan-private", "mountPath": "/t"}]}, "the sidecar's alone"),
    *(({"volumeMounts": [application_mount() | changed]}, "the sidecar's alone") for changed in (
        {"readOnly": False}, {"mountPath": "/t"}, {"subPath": "x"}, {"name": "bartizan-roots"}, {"mountPropagation": "Bidirectional"},
    )),
    ({"volumeMounts": [{"name": "bartizan-workload-api", "mountPath": "/run/bartizan/workload"}]}, "the sidecar's alone"),
]


@pytest.mark.parametrize("where", ["containers", "initContainers", "ephemeralContainers"])
@pytest.mark.parametrize(("fields", "words"), BAD_CONTAINERS)
def test_so_is_one_with_such_a_container(where: str, fields: dict[str, Any], words: str) -> None:
    decision = _decide(pod(**{where: [container(**fields)]}))
    assert isinstance(decision, Refuse)
    assert words in decision.reasons[0]


@pytest.mark.parametrize("where", ["containers", "ephemeralContainers"])
def test_our_names_are_ours(where: str) -> None:
    decision = _decide(pod(**{where: [{"name": "bartizan-sidecar"}]}))
    assert isinstance(decision, Refuse)
    assert "rename it" in decision.reasons[0]


def test_everything_that_is_wrong_is_said() -> None:
    decision = _decide(pod(hostPID=True, containers=[container(**BAD_CONTAINERS[0][0]), container(**BAD_CONTAINERS[1][0])]))
    assert isinstance(decision, Refuse)
    assert len(decision.reasons) == 3


def test_a_container_with_its_own_user_is_not_the_pods() -> None:
    data = pod(securityContext={"runAsUser": UID}, containers=[container(securityContext={"runAsUser": 1000})])
    assert _decide(data) == Inject()


def test_a_uid_is_no_matter_where_a_mark_exempts() -> None:
    assert _decide(pod(securityContext={"runAsUser": UID}), bypass="mark") == Inject()


def test_the_socket_of_the_workload_api_may_be_mounted_as_we_mount_it() -> None:
    """So does a pod come back from its own patching, and so may somebody who looks for a fault."""
    for where in ("containers", "initContainers", "ephemeralContainers"):
        assert isinstance(_decide(pod(**{where: [container(volumeMounts=[application_mount()])]})), Inject)
