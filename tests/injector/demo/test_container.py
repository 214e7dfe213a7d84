import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.demo.container import (
    RUNTIME_CAPABILITIES,
    Mount,
    capabilities,
    contents,
    enter_prefix,
    environment,
    expand,
    field,
    plan,
    start_argv,
)
from injector.demo.errors import DemoError

from .support import ADDRESSES, IMAGES, nothing_stored, pod


@pytest.mark.parametrize(("text", "expanded"), [
    ("$(A)", "1"), ("x$(A)y$(B)", "x1y2"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$$$$(A)", "$$(A)"),
    ("$(MISSING)", "$(MISSING)"), ("$(A", "$(A"), ("$A", "$A"), ("$", "$"), ("$$", "$"), ("a$$b", "a$b"), ("$()", "$()"),
    ("$(LOOP)", "$(A)"),
])
def test_expansion_as_the_api_documents_it(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2", "LOOP": "$(A)"}) == expanded


@given(st.text())
def test_a_text_whose_dollars_are_doubled_comes_out_as_it_was(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"A": "1"}) == text


def test_variables_use_those_before_them_and_fields_of_the_pod() -> None:
    container = {"name": "app", "env": [
        {"name": "LATE", "value": "$(UID)"},
        {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
        {"name": "CONFIG", "value": '{"podUid":"$(UID)","text":"$$(UID)"}'},
    ]}
    assert environment(pod(), container, ADDRESSES, nothing_stored) == {
        "LATE": "$(UID)", "UID": "6f9619ff", "IPS": "10.244.0.10,fd00:244::a", "CONFIG": '{"podUid":"6f9619ff","text":"$(UID)"}',
    }


def test_variables_from_a_secret_and_what_is_missing() -> None:
    secret = {"kind": "Secret", "data": {"key": "dmFsdWU="}, "stringData": {"plain": "text"}}
    assert contents(secret) == {"key": b"value", "plain": b"text"}

    def container(key: str, optional: bool) -> dict[str, object]:
        source = {"name": "s", "key": key, "optional": optional}
        return {"name": "app", "env": [{"name": "V", "valueFrom": {"secretKeyRef": source}}]}

    assert environment(pod(), container("key", False), ADDRESSES, lambda *_: secret) == {"V": "value"}
    assert environment(pod(), container("absent", True), ADDRESSES, lambda *_: secret) == {}
    with pytest.raises(DemoError, match="variable V needs key 'absent'"):
        environment(pod(), container("absent", False), ADDRESSES, lambda *_: secret)


def test_fields() -> None:
    assert field(pod(), "metadata.annotations['bartizan.dev/roots']", ADDRESSES) == "PEM"
    assert field(pod(), "metadata.labels['absent']", ADDRESSES) == ""
    with pytest.raises(DemoError, match="knows no field"):
        field(pod(), "spec.hostname", ADDRESSES)


@pytest.mark.parametrize(("asked", "granted"), [
    ({}, RUNTIME_CAPABILITIES),
    ({"drop": ["ALL"]}, ()),
    ({"drop": ["ALL"], "add": ["NET_ADMIN"]}, ("net_admin",)),
    ({"drop": ["CAP_NET_RAW"]}, RUNTIME_CAPABILITIES),
    ({"add": ["CAP_NET_ADMIN"], "drop": ["net_raw", "net_admin"]}, tuple(c for c in RUNTIME_CAPABILITIES if c != "net_raw")),
])
def test_capabilities_as_runtimes_compute_them(asked: dict[str, list[str]], granted: tuple[str, ...]) -> None:
    assert capabilities(asked) == granted


def test_a_plan_takes_command_args_user_and_mounts_from_the_json() -> None:
    container = {
        "name": "app", "image": "registry/bartizan:1", "args": ["sidecar", "--uid", "$(UID)"],
        "env": [{"name": "UID", "value": "7"}],
        "securityContext": {"runAsUser": 50001, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "v", "mountPath": "/run/a/b", "subPath": "s"}, {"name": "v", "mountPath": "/run", "readOnly": True}],
    }
    launch = plan(pod(securityContext={"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3}), container, IMAGES, {"v": "/vol"},
                  ADDRESSES, nothing_stored)
    assert launch.argv == ("/usr/bin/python3", "-m", "injector.cli.main", "sidecar", "--uid", "7")
    assert (launch.uid, launch.gid, launch.groups, launch.capabilities) == (50001, 2, (3,), ())
    assert launch.no_new_privileges
    assert launch.mounts == (Mount("/vol", "/run", True), Mount("/vol/s", "/run/a/b", False))
    assert dict(launch.env) == {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "UID": "7"}


def test_command_replaces_the_entrypoint() -> None:
    launch = plan(pod(), {"name": "app", "image": "bartizan", "command": ["true"]}, IMAGES, {}, ADDRESSES, nothing_stored)
    assert launch.argv == ("true",)


@pytest.mark.parametrize(("container", "message"), [
    ({"name": "app", "image": "nginx"}, "no image of the demo's"),
    ({"name": "app", "command": ["x"], "envFrom": [{}]}, "cannot honour `envFrom`"),
    ({"name": "app", "command": ["x"], "securityContext": {"privileged": True}}, "nothing privileged"),
    ({"name": "app", "command": ["x"], "securityContext": {"runAsNonRoot": True}}, "runAsNonRoot forbids UID 0"),
    ({"name": "app", "command": ["x"], "volumeMounts": [{"name": "v", "mountPath": "/run/v"}]}, "no volume is called 'v'"),
    ({"name": "app", "command": ["x"], "securityContext": {"capabilities": {"add": ["ALL"]}}}, "name those that are needed"),
])
def test_what_cannot_be_honoured_is_refused_by_name(container: dict[str, object], message: str) -> None:
    with pytest.raises(DemoError, match=message):
        plan(pod(), container, IMAGES, {}, ADDRESSES, nothing_stored)


def test_credentials_on_the_command_line() -> None:
    container = {"name": "app", "command": ["x"], "securityContext": {"runAsUser": 5, "capabilities": {"drop": ["ALL"]}}}
    launch = plan(pod(), container, IMAGES, {}, ADDRESSES, nothing_stored)
    argv = start_argv(launch, "web-x2x4z", has_uids=True)
    assert argv[:2] == ["nsenter", "--net=/run/netns/web-x2x4z"]
    assert {"--bounding-set=-all", "--reuid=5", "--regid=0", "--clear-groups", "--no-new-privs"} <= set(argv)
    single = start_argv(launch, "web-x2x4z", has_uids=False)
    assert not [word for word in single if word.startswith("--reuid")]
    assert enter_prefix(launch, 77, has_uids=True)[:2] == ["nsenter", "--target=77"]
