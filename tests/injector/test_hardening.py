from typing import Any

import pytest

from injector.cluster.objects import Pod
from injector.containers import application_mount
from injector.hardening import Level, additions, container_reasons, left_open, pod_reasons

from .pods import container, pod

UID = 50123
LEVELS: tuple[Level, ...] = ("standard", "strict")
FITTING = {"runAsUser": 1000}       # all that `strict` cannot add
at_both_levels = pytest.mark.parametrize("level", LEVELS)


def _reasons(fields: dict[str, Any], level: Level = "standard", uid: int | None = UID, **spec: Any) -> list[str]:
    return list(container_reasons(container(**fields), Pod(pod(**spec)), level, uid))


def _secured(level: Level = "strict", uid: int | None = UID, inherited: dict[str, Any] | None = None, **fields: Any) -> list[str]:
    return _reasons({"securityContext": fields}, level, uid, securityContext=inherited)


def _token(**fields: Any) -> dict[str, Any]:
    return {"name": "t", "projected": {"sources": [{"configMap": {"name": "x"}}, {"serviceAccountToken": {"path": "t", **fields}}]}}


def _host_path(path: str) -> dict[str, Any]:
    return {"volumes": [{"name": "h", "hostPath": {"path": path}}]}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"hostIPC": True}, "hostIPC"),
        ({"shareProcessNamespace": True}, "shareProcessNamespace"),
        ({"os": {"name": "windows"}}, "Windows"),
        ({"securityContext": {"sysctls": [{"name": "net.ipv4.conf.all.route_localnet", "value": "1"}]}}, "route_localnet"),
        ({"securityContext": {"sysctls": [{"name": "net/ipv4/ip_forward", "value": "1"}]}}, "net.ipv4.ip_forward"),
        ({"volumes": [_token(audience="bartizan")]}, "audience bartizan"),
        (_host_path("/var/lib/kubelet/pods"), "/var/lib/kubelet"),
        (_host_path("//var/./lib"), "other pods' secrets"),
        (_host_path("/"), "other pods' secrets"),
        (_host_path("/data/../var"), "other pods' secrets"),
        (_host_path("/var/run/docker.sock"), "other pods' secrets"),
        (_host_path("/etc/kubernetes/admin.conf"), "other pods' secrets"),
        (_host_path("/opt/cni/bin"), "other pods' secrets"),
    ],
)
def test_a_pod_that_could_get_round_the_sidecar_is_refused(spec: dict[str, Any], words: str) -> None:
    [reason] = pod_reasons(Pod(pod(**spec)))
    assert words in reason


@pytest.mark.parametrize(
    "spec",
    [
        # Whatever is resolved by these, the sidecar asks its own resolvers and dials what they say: DESIGN, binding by construction.
        {"hostAliases": [{"ip": "203.0.113.9", "hostnames": ["api.partner.example"]}]},
        {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["203.0.113.9"]}},
        {"hostUsers": False}, {"hostUsers": True}, {"os": {"name": "linux"}},
        {"securityContext": {"sysctls": [{"name": "net.ipv4.ping_group_range", "value": "0 1000"}, {"name": "kernel.shm_rmid_forced"}]}},
        {"containers": [container(ports=[{"containerPort": 8080, "hostPort": 80}], volumeDevices=[{"name": "d", "devicePath": "/dev/x"}])]},
        {"volumes": [_token(), _token(audience="vault"), {"name": "c", "csi": {"driver": "secrets-store.csi.k8s.io"}}]},
        _host_path("/data"), _host_path("/var/lib/kube"),
    ],
)
@at_both_levels
def test_what_is_harmless_is_no_reason(spec: dict[str, Any], level: Level) -> None:
    found = Pod(pod(**spec))
    assert [*pod_reasons(found), *(one for each in found.containers for one in container_reasons(
        {**each, "securityContext": FITTING}, found, level, UID))] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "bartizan-sidecar"}, "rename it"),
        ({"targetContainerName": "bartizan-sidecar"}, "targetContainerName"),
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "hostProcess"),
        *(({"securityContext": {"capabilities": {"add": [one]}}}, words) for one, words in (
            ("NET_ADMIN", "NET_ADMIN"), ("CAP_net_raw", "NET_RAW"), ("ALL", "ALL"), ("SYS_ADMIN", "SYS_ADMIN"), ("BPF", "BPF"),
            ("DAC_READ_SEARCH", "DAC_READ_SEARCH"), ("sys_rawio", "SYS_RAWIO"), ("SYS_MODULE", "SYS_MODULE"),
            ("net_adm\u0131n", "NET_ADMIN"), ("\u017fys_admin", "SYS_ADMIN"),      # which capitals make ASCII of
        )),
        ({"securityContext": {"procMount": "Unmasked"}}, "procMount"),
        ({"securityContext": {"runAsUser": UID}}, "the sidecar's UID"),
        ({"volumeMounts": [{"name": "bartizan-token", "mountPath": "/t"}]}, "the sidecar's alone"),
        ({"volumeMounts": [{"name": "bartizan-private", "mountPath": "/t"}]}, "the sidecar's alone"),
        ({"volumeMounts": [{"name": "bartizan-private", "mountPath": "/t", "subPathExpr": "$(X)"}]}, "the sidecar's alone"),
        ({"volumeDevices": [{"name": "bartizan-private", "devicePath": "/t"}]}, "the sidecar's alone"),
        *(({"volumeMounts": [application_mount() | changed]}, "the sidecar's alone") for changed in (
            {"readOnly": False}, {"mountPath": "/t"}, {"subPath": "x"}, {"name": "bartizan-roots"}, {"mountPropagation": "Bidirectional"},
        )),
        ({"volumeMounts": [{"name": "bartizan-workload-api", "mountPath": "/run/bartizan/workload"}]}, "the sidecar's alone"),
    ],
)
@at_both_levels
def test_so_is_one_with_such_a_container(fields: dict[str, Any], words: str, level: Level) -> None:
    fields = {**fields, "securityContext": {**FITTING, **fields.get("securityContext", {})}}
    [reason] = _reasons(fields, level)
    assert words in reason


def test_the_pods_user_is_that_of_a_container_that_names_none() -> None:
    assert _secured("standard", inherited={"runAsUser": UID}) != []
    assert _secured("standard", inherited={"runAsUser": UID}, runAsUser=1000) == []
    assert _secured("standard", inherited={"runAsUser": 1000}, runAsUser=UID) != []
    assert _secured("standard", None, inherited={"runAsUser": UID}) == []      # exempt by mark


def test_the_socket_of_the_workload_api_may_be_mounted_as_we_mount_it() -> None:
    """So does a pod come back from its own patching, and so may somebody who looks for a fault."""
    assert _reasons({"volumeMounts": [application_mount()]}) == []


# -- strict


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"capabilities": {"add": ["SETUID"]}}, "SETUID"),
        ({"capabilities": {"add": ["CAP_SETGID"], "drop": ["ALL"]}}, "SETGID"),
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation true"),
        ({"seccompProfile": {"type": "Unconfined"}}, "the seccompProfile Unconfined"),
        ({"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}, "the seccompProfile Localhost"),
        ({"appArmorProfile": {"type": "Unconfined"}}, "the appArmorProfile Unconfined"),
        ({"seLinuxOptions": {"type": "spc_t"}}, "the SELinux type spc_t"),
        ({"runAsUser": None}, "leaves its user to its image"),
    ],
)
def test_what_strict_refuses_standard_lets_pass(fields: dict[str, Any], words: str) -> None:
    [reason] = _secured("strict", **FITTING | fields)
    assert words in reason
    assert _secured("standard", **FITTING | fields) == []


@pytest.mark.parametrize(("name", "loose", "tight"), [
    ("seccompProfile", "Unconfined", "RuntimeDefault"), ("appArmorProfile", "Unconfined", "RuntimeDefault"),
    ("seLinuxOptions", "spc_t", "container_t"),
])
def test_the_pods_word_counts_where_the_container_is_silent(name: str, loose: str, tight: str) -> None:
    field, confined = {name: {"type": loose}}, {"type": tight}
    assert len(_secured(inherited=FITTING | field)) == 1
    assert _secured(inherited=FITTING | field, **{name: confined}) == []
    assert len(_secured(inherited=FITTING | {name: confined}, **field)) == 1


def test_apparmor_by_its_annotation() -> None:
    data = pod()
    data["metadata"]["annotations"]["container.apparmor.security.beta.kubernetes.io/app"] = "unconfined"
    assert len(list(container_reasons(container(securityContext=FITTING), Pod(data), "strict", UID))) == 1


def test_where_a_mark_exempts_a_user_is_no_way_past() -> None:
    assert _secured("strict", None) == []


# -- what is set


def _added(level: Level, security: dict[str, Any] | None, inherited: dict[str, Any] | None = None) -> dict[str, Any]:
    data = pod(securityContext=inherited)
    return {".".join(path): value for path, value in additions(container(securityContext=security), Pod(data), level)}


WHOLE = {
    "capabilities.drop": ["NET_ADMIN", "NET_RAW", "SETUID", "SETGID"], "allowPrivilegeEscalation": False,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_what_is_set_where_a_container_is_silent() -> None:
    assert _added("standard", None) == {"capabilities.drop": ["NET_ADMIN", "NET_RAW"]}
    assert _added("strict", None) == WHOLE
    assert _added("strict", {"capabilities": {"drop": ["CAP_SETUID", "NET_RAW"]}}) == WHOLE | {
        "capabilities.drop": ["CAP_SETUID", "NET_RAW", "NET_ADMIN", "SETUID", "SETGID"]}


def test_what_a_runtime_does_not_take_away_is_not_dropped() -> None:
    """It puts CAP_ before a name that has it already, and knows no such capability."""
    named = ["CAP_NET_ADMIN", "cap_net_raw", "CAP_ALL"]
    assert _added("standard", {"capabilities": {"drop": named}}) == {"capabilities.drop": [*named, "NET_ADMIN", "NET_RAW"]}


def test_nothing_is_set_twice() -> None:
    done = {"capabilities": {"drop": ["all"]}, "allowPrivilegeEscalation": False, "seccompProfile": {"type": "RuntimeDefault"}}
    assert _added("strict", done) == {}
    assert _added("strict", {**done, "seccompProfile": None}, {"seccompProfile": {"type": "RuntimeDefault"}}) == {}


# -- what is left


CLOSED = {"runAsUser": 1000, "allowPrivilegeEscalation": False}


def _left(security: dict[str, Any], **spec: Any) -> str:
    return " ".join(left_open(Pod(pod(containers=[container(securityContext=security)], **spec))))


@pytest.mark.parametrize(
    ("security", "words"),
    [
        (CLOSED | {"runAsUser": None}, "(no runAsUser, SETUID not dropped)"),
        (CLOSED | {"runAsUser": 0}, "(SETUID not dropped)"),
        (CLOSED | {"runAsUser": 0, "capabilities": {"drop": ["ALL"], "add": ["SETUID"]}}, "(SETUID not dropped)"),
        (CLOSED | {"allowPrivilegeEscalation": True}, "(allowPrivilegeEscalation not false)"),
        ({}, "(no runAsUser, allowPrivilegeEscalation not false, SETUID not dropped)"),
    ],
)
def test_who_could_take_the_sidecars_uid_is_told(security: dict[str, Any], words: str) -> None:
    assert words in _left(security)
    assert len(_left(security)) < 256       # what an API server shows of a warning


def test_who_could_not_is_not() -> None:
    assert _left(CLOSED) == ""
    assert _left({"allowPrivilegeEscalation": False}, securityContext={"runAsUser": 1000}) == ""
    assert _left(CLOSED | {"runAsUser": 0, "capabilities": {"drop": ["SETUID"]}}) == ""
    assert _left({}, initContainers=[{"name": "bartizan-interception", "args": ["intercept", "--exempt-mark", "1"]}]) == ""


def test_a_folder_of_the_node_is_told() -> None:
    assert "volume h mounts /data of the node" in _left(CLOSED, **_host_path("/data"))


@pytest.mark.parametrize("security", [FITTING, {"runAsUser": 0}, FITTING | {"capabilities": {"drop": ["NET_RAW"], "add": ["CHOWN"]}}])
def test_strict_leaves_nothing(security: dict[str, Any]) -> None:
    assert _secured("strict", **security) == []
    closed = dict(security)
    for path, value in additions(container(securityContext=security), Pod(pod()), "strict"):
        closed[path[0]] = {**closed.get("capabilities", {}), path[1]: value} if len(path) == 2 else value
    assert _left(closed) == ""
