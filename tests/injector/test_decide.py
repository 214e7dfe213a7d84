from typing import Any

import pytest

from injector.cluster.objects import Pod
from injector.compile.mesh import MeshSettings
from injector.containers import proxy_uid
from injector.decide import Inject, Refuse, Skip, decide
from injector.settings import Bypass, Settings

from .pods import container, pod

ENABLED = {"bartizan.dev/injection": "enabled"}
UID = proxy_uid(Pod(pod()), "shop")


def _decide(
    data: dict[str, Any], labels: dict[str, str] = ENABLED, *, bypass: Bypass = "uid", **mesh: Any,
) -> Inject | Skip | Refuse:
    return decide(Pod(data), "shop", labels, mesh=MeshSettings(**mesh), settings=Settings(bypass=bypass))


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


@pytest.mark.parametrize("where", ["containers", "initContainers", "ephemeralContainers"])
def test_a_pod_that_could_get_round_the_sidecar_is_refused(where: str) -> None:
    decision = _decide(pod(hostPID=True, **{where: [container(name="a", securityContext={"privileged": True}),
                                                    container(name="b", securityContext={"runAsUser": UID})]}))
    assert isinstance(decision, Refuse)
    assert len(decision.reasons) == 3


def test_the_level_is_the_mesh_policys() -> None:
    asking = pod(securityContext={"runAsUser": 1000}, containers=[container(securityContext={"allowPrivilegeEscalation": True})])
    assert _decide(asking) == Inject()
    assert isinstance(_decide(asking, hardening="strict"), Refuse)


def test_a_uid_is_no_matter_where_a_mark_exempts() -> None:
    assert _decide(pod(securityContext={"runAsUser": UID}), bypass="mark") == Inject()


@pytest.mark.parametrize("spec", [
    {"initContainers": [container(name="bartizan-sidecar")]}, {"containers": [container(name="bartizan-interception")]},
    {"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "bartizan"}}]}}]},
])
def test_who_stays_out_has_nothing_of_the_mesh(spec: dict[str, Any]) -> None:
    data = _labelled("disabled")
    data["spec"] |= spec
    decision = _decide(data, opt_out=True)
    assert isinstance(decision, Refuse)
    assert "remove it" in decision.reasons[0] or "another audience" in decision.reasons[0]


@pytest.mark.parametrize("spec", [{"os": {"name": "windows"}}, {"nodeSelector": {"kubernetes.io/os": "windows"}}])
def test_windows_is_refused_and_may_opt_out(spec: dict[str, Any]) -> None:
    decision = _decide(pod(**spec))
    assert isinstance(decision, Refuse)
    assert "Windows" in decision.reasons[0]
    data = _labelled("disabled")
    data["spec"] |= spec
    assert isinstance(_decide(data, opt_out=True), Skip)


@pytest.mark.parametrize(("where", "older", "is_let_be"), [
    ("initContainers", False, True), ("containers", False, False), ("initContainers", True, False), ("containers", True, True),
])
def test_our_names_are_left_to_the_comparison_only_where_they_belong(where: str, older: bool, is_let_be: bool) -> None:
    data = pod(**{where: [container(name="bartizan-sidecar")]})
    data["metadata"]["annotations"]["bartizan.dev/native-sidecar"] = "false" if older else "true"
    assert isinstance(_decide(data), Inject) is is_let_be
