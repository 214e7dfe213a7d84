"""Any pod that can be patched: patched and unpatched, it is the pod that it was, and to patch that gives the same again."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector import documents
from injector.compile.mesh import MeshSettings
from injector.documents import Exclusions
from injector.patch import patch_pod
from injector.settings import Settings
from injector.unpatch import unpatch
from injector.validate import read_annotation
from tests.injector.pods import ROUTES, container, pod

SETTINGS = Settings(image="bartizan:1", roots="ROOTS")
Json = dict[str, Any]

CAPABILITIES = st.lists(st.sampled_from(["NET_RAW", "NET_ADMIN", "SYS_TIME", "SETUID"]), unique=True, min_size=1)
SECURITY = st.fixed_dictionaries({}, optional={
    "capabilities": st.one_of(
        st.fixed_dictionaries({"drop": CAPABILITIES}), st.just({"drop": ["ALL"]}), st.just({"add": ["CHOWN"]}),
        st.fixed_dictionaries({"drop": CAPABILITIES, "add": st.just(["CHOWN"])})),
    "allowPrivilegeEscalation": st.just(False), "runAsUser": st.just(1000), "seccompProfile": st.just({"type": "RuntimeDefault"}),
}).filter(bool)
HANDLER = st.one_of(
    st.builds(lambda port, path: {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}}, st.sampled_from([8080, "web"]),
              st.sampled_from(["/", "/ready?x=1"])),
    st.just({"httpGet": {"path": "/", "port": 8080, "scheme": "HTTPS", "httpHeaders": [{"name": "x-a", "value": "b"}]}}),
    st.just({"tcpSocket": {"port": "web"}}), st.just({"grpc": {"port": 8080, "service": "s"}}), st.just({"exec": {"command": ["true"]}}),
    st.just({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP", "host": "elsewhere"}}),
)
PROBE = st.builds(lambda how, rest: {**how, **rest}, HANDLER, st.fixed_dictionaries({}, optional={"periodSeconds": st.just(5)}))
HOOK = st.one_of(st.just({"exec": {"command": ["true"]}}), st.just({"httpGet": {"path": "/stop", "port": 8080, "scheme": "HTTP"}}))
CONTAINER = st.fixed_dictionaries({"image": st.just("app"), "ports": st.just([{"name": "web", "containerPort": 8080}])}, optional={
    "securityContext": SECURITY, "readinessProbe": PROBE, "livenessProbe": PROBE,
    "lifecycle": st.fixed_dictionaries({"preStop": HOOK}),
    "env": st.just([{"name": "A", "value": "b"}]), "volumeMounts": st.just([{"name": "v", "mountPath": "/v"}]),
})


def _named(found: list[Json], prefix: str) -> list[Json]:
    return [{"name": f"{prefix}{i}", **one} for i, one in enumerate(found)]


@st.composite
def pods(draw: st.DrawFn) -> Json:
    spec: Json = {"containers": _named(draw(st.lists(CONTAINER, min_size=1, max_size=3)), "app")}
    if init := draw(st.lists(st.fixed_dictionaries({"image": st.just("init")}, optional={"securityContext": SECURITY}), max_size=2)):
        spec["initContainers"] = _named(init, "init")
    if draw(st.booleans()):
        spec["volumes"] = [{"name": "v", "emptyDir": {}}]
    metadata: Json = draw(st.fixed_dictionaries({}, optional={"name": st.just("web-1"), "labels": st.just({"a": "b"})}))
    annotations = draw(st.fixed_dictionaries({}, optional={
        "example.com/note": st.just("x"), documents.WORKLOAD_API: st.just("enabled"), documents.NATIVE_SIDECAR: st.just("false"),
        documents.PORTS: st.just('{"8080":"http2"}'), documents.EXCLUDE: st.just('{"inboundPorts":[9100]}'),
    }))
    return {**({"metadata": {**metadata, **({"annotations": annotations} if annotations else {})}} if metadata or annotations else {}),
            "spec": spec}


@given(pods(), st.sampled_from(["standard", "strict"]), st.sampled_from(["uid", "mark"]))
def test_the_way_back(data: Json, level: Any, bypass: Any) -> None:
    data = msgspec.json.decode(msgspec.json.encode(data))       # nothing in it stands at two places
    mesh = MeshSettings(hardening=level, exclusions=Exclusions(inbound_ports=(9100,)))
    settings = Settings(image="bartizan:1", roots="ROOTS", bypass=bypass)
    patched = patch_pod(data, "shop", settings, mesh).value
    before = copy.deepcopy(patched)
    assert unpatch(patched) == data
    assert patched == before
    assert unpatch(patch_pod(patched, "shop", settings, mesh).value) == data
    assert unpatch(unpatch(patched)) == data


def test_annotations_stay_in_the_form_of_json_and_say_the_same() -> None:
    found = unpatch(patch_pod(pod(), "shop", SETTINGS).value)["metadata"]["annotations"]
    assert found.keys() == {documents.ROUTES}
    assert read_annotation(documents.ROUTES, found[documents.ROUTES]) == read_annotation(documents.ROUTES, ROUTES)


@pytest.mark.parametrize("data", [pod(), {"spec": {}}, {"spec": {"containers": [container()], "initContainers": []}, "metadata": {}}])
def test_a_pod_without_sidecar_stays_as_it_is(data: Json) -> None:
    assert unpatch(data) == data


def test_what_another_put_in_meanwhile_stays() -> None:
    patched = patch_pod(pod(), "shop", SETTINGS).value
    patched["spec"]["containers"].append({"name": "theirs", "image": "x"})
    patched["spec"]["containers"][0]["securityContext"]["runAsUser"] = 7
    found = unpatch(patched)["spec"]["containers"]
    assert found[1] == {"name": "theirs", "image": "x"}
    assert found[0]["securityContext"] == {"runAsUser": 7}
