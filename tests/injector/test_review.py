import base64
import json
from collections.abc import Iterator
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.cluster import Cluster
from injector.patch import patch_pod
from injector.review import MOST_WORDS_BYTES, review
from injector.settings import Settings
from sidecar.model import ports

from .pods import container, egress_policy, mesh_policy, namespace, pod

SETTINGS = Settings(roots="PEM")
CLUSTER = Cluster.of([namespace(), namespace("legacy", x="y"), egress_policy()])
PATCHED = patch_pod(pod(), "shop", SETTINGS).value
TIGHT = {"runAsUser": 1000, "allowPrivilegeEscalation": False}
CLOSED = patch_pod(pod(containers=[container(securityContext=TIGHT)]), "shop", SETTINGS).value


def _request(data: object, operation: str = "CREATE", old: object = None, where: str = "shop", sub: str = "", kind: str = "") -> bytes:
    name = kind or (data.get("kind", "Pod") if isinstance(data, dict) else "Pod")
    return json.dumps({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": name}, "subResource": sub, "operation": operation,
            "namespace": where, "object": data, "oldObject": old,
        },
    }).encode()


def _response(body: bytes, cluster: Cluster = CLUSTER) -> dict[str, Any]:
    answer = review(body, SETTINGS, cluster)
    assert answer.status == 200
    data = json.loads(answer.body)
    assert (data["apiVersion"], data["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert data["response"]["uid"] == "u-1"
    response: dict[str, Any] = data["response"]
    return response


def _refusal(body: bytes, cluster: Cluster = CLUSTER) -> str:
    response = _response(body, cluster)
    assert response["allowed"] is False
    assert "patch" not in response
    message: str = response["status"]["message"]
    return message


def _annotated(name: str, text: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    found = data or pod()
    found["metadata"]["annotations"] = {name: text}
    return found


def _deployment(annotations: dict[str, str], template: dict[str, Any] | None = None, kind: str = "Deployment") -> dict[str, Any]:
    inner: dict[str, Any] = {"template": template or pod()}
    spec = {"jobTemplate": {"spec": inner}} if kind == "CronJob" else inner
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "orders", "annotations": annotations}, "spec": spec}


def test_a_pod_gets_the_patch() -> None:
    response = _response(_request(pod()))
    assert response["allowed"] is True
    assert response["patchType"] == "JSONPatch"
    assert jsonpatch.apply_patch(pod(), json.loads(base64.b64decode(response["patch"]))) == PATCHED


def test_a_patched_pod_gets_none() -> None:
    assert _response(_request(CLOSED)) == {"uid": "u-1", "allowed": True}


def test_what_is_left_open_is_a_warning() -> None:
    [warning] = _response(_request(pod()))["warnings"]
    assert warning.startswith("bartizan: container app could take the sidecar's UID and pass it by (no runAsUser")
    strict = Cluster.of([namespace(), mesh_policy(hardening="strict")])
    assert "leaves its user to its image" in _refusal(_request(pod()), strict)
    response = _response(_request(pod(securityContext={"runAsUser": 1000})), strict)
    assert response["allowed"] is True
    assert "warnings" not in response


def test_where_no_patch_is_heeded_the_object_must_need_none() -> None:
    """A validating webhook is called with what mutating ones have made of the object; without ours the pod would run bare."""
    def validated(data: object, operation: str = "CREATE", old: object = None, sub: str = "") -> dict[str, Any]:
        body = _request(data, operation, old, sub=sub)
        response: dict[str, Any] = json.loads(review(body, Settings(roots="newer"), CLUSTER, may_patch=False).body)["response"]
        assert "patch" not in response
        return response

    assert validated(CLOSED)["allowed"] is True     # with the roots of a moment ago
    assert "lacks parts of the mesh" in validated(pod())["status"]["message"]
    late = json.loads(json.dumps(CLOSED))
    late["spec"]["containers"].append(container(name="late"))
    assert validated(late)["allowed"] is False
    debugged = json.loads(json.dumps(CLOSED))
    debugged["spec"]["ephemeralContainers"] = [container(name="debug")]
    assert "lacks parts" in validated(debugged, "UPDATE", CLOSED, "ephemeralcontainers")["status"]["message"]
    debugged["spec"]["ephemeralContainers"][0]["securityContext"] = {"capabilities": {"drop": ["ALL"]}}
    assert validated(debugged, "UPDATE", CLOSED, "ephemeralcontainers")["allowed"] is True


def test_a_refusal_is_bounded() -> None:
    many = _annotated("bartizan.dev/egress", "".join(f"- host: h{number}.nobody.example\n" for number in range(1000)))
    message = _refusal(_request(many))
    assert "h1.nobody.example" in message
    assert len(message.encode()) <= MOST_WORDS_BYTES + 100


def test_exclusions_need_the_mesh_policy_and_are_settled_at_creation() -> None:
    wish = _annotated("bartizan.dev/exclude", "inboundPorts: [9100]")
    assert "no MeshPolicy that selects the pod lets 9100 be excluded" in _refusal(_request(wish))
    assert "no MeshPolicy that selects the pod" in _refusal(_request(_deployment({}, wish)))
    assert "write it into the template's metadata" in _refusal(_request(_deployment({"bartizan.dev/exclude": "{}"})))
    policy = mesh_policy(exclusions={"inboundPorts": [9100]}, udp=[{"cidr": "10.0.0.0/8", "ports": [123]}])
    allowed = Cluster.of([namespace(), namespace("legacy", x="y"), policy])
    patch = json.loads(base64.b64decode(_response(_request(wish), allowed)["patch"]))
    patched = jsonpatch.apply_patch(wish, patch)
    arguments = patched["spec"]["initContainers"][0]["args"]
    assert arguments[3:] == ["--allow-udp", "10.0.0.0/8:123", "--exclude-inbound", "9100"]
    # Called once more, or with what somebody made of it on the way, it is compared with a fresh rendering.
    assert "patch" not in _response(_request(patched), allowed)
    patched["spec"]["initContainers"][0]["args"] = [*arguments, "--exclude-outbound-port", "5432"]
    assert "bartizan-interception: the name is ours and the rest is not" in _refusal(_request(patched), allowed)
    assert _response(_request(_annotated("bartizan.dev/exclude", "inboundPorts: [9100]"), where="legacy"), allowed)["allowed"] is True
    late = json.loads(json.dumps(PATCHED))
    late["metadata"]["annotations"]["bartizan.dev/exclude"] = "inboundPorts: [9100]"
    for sub in ("", "status"):
        assert "create the pod anew" in _refusal(_request(late, "UPDATE", PATCHED, sub=sub), allowed)


def test_a_pod_outside_of_the_mesh_is_let_through() -> None:
    assert _response(_request(pod(), where="legacy")) == {"uid": "u-1", "allowed": True}


def test_the_namespace_is_the_requests() -> None:
    data = pod()
    data["metadata"]["namespace"] = "legacy"
    assert "patch" in _response(_request(data))


def test_a_namespace_that_is_not_known_yet_is_no_reason_to_let_a_pod_run_bare() -> None:
    assert "try again" in _refusal(_request(pod(), where="new"))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    data = pod(hostNetwork=True, containers=[container(securityContext={"privileged": True})])
    data["metadata"]["annotations"] = {
        "bartizan.dev/routes": "- {name: a}\n- {name: b, alow: []}", "bartizan.dev/rotues": "",
        "bartizan.dev/egress": "- host: elsewhere.example",
    }
    message = _refusal(_request(data))
    for words in (
        "line 1: the field \"allow\" is missing", 'line 2: unknown field "alow"', 'did you mean "bartizan.dev/routes"', "hostNetwork",
        "privileged", 'no EgressPolicy approves host "elsewhere.example" for service account orders of namespace shop',
    ):
        assert words in message


def test_an_opt_out_needs_the_mesh_policy() -> None:
    data = pod()
    data["metadata"]["labels"] = {"bartizan.dev/injection": "disabled", "app": "x"}
    assert "optOut" in _refusal(_request(data))
    allowed = Cluster.of([namespace(), mesh_policy(selector={"matchLabels": {"app": "x"}}, optOut=True)])
    response = _response(_request(data), allowed)
    assert response["allowed"] is True
    assert "no sidecar" in response["warnings"][0]
    other = Cluster.of([namespace(), mesh_policy(selector={"matchLabels": {"app": "y"}}, optOut=True)])
    assert "optOut" in _refusal(_request(data), other)


@pytest.mark.parametrize(
    ("entry", "is_covered"),
    [
        ("- host: api.partner.example", True), ("- host: '*.partner.example'", True), ("- host: '*.eu.partner.example'", True),
        ("- host: partner.example", False), ("- host: evilpartner.example", False), ("- cidr: 203.0.113.0/24", False),
    ],
)
def test_an_egress_entry_needs_an_approval(entry: str, is_covered: bool) -> None:
    body = _request(_annotated("bartizan.dev/egress", entry))
    if is_covered:
        assert _response(body)["allowed"] is True
    else:
        assert "no EgressPolicy approves" in _refusal(body)


def test_what_an_egress_entry_lacks_is_said() -> None:
    """The most of it that is approved, and what more was asked for."""
    refused = _refusal(_request(_annotated("bartizan.dev/egress", "- {host: api.partner.example, tls: {port: 8443}}")))
    assert "policy partners approves *.partner.example, but not port 8443 (ports: 80, 443)" in refused


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
def test_workloads_are_judged_with_their_templates(kind: str) -> None:
    assert _response(_request(_deployment({}, kind=kind))) == {"uid": "u-1", "allowed": True}
    assert "line 1" in _refusal(_request(_deployment({"bartizan.dev/routes": "- {}"}, kind=kind)))
    assert "line 1" in _refusal(_request(_deployment({}, _annotated("bartizan.dev/routes", "- {}"), kind=kind)))
    assert "no EgressPolicy" in _refusal(_request(_deployment({"bartizan.dev/egress": "- host: a.example"}, kind=kind)))


def test_the_workload_api_is_asked_for_in_the_template() -> None:
    wish = {"bartizan.dev/workload-api": "enabled"}
    assert _response(_request(_deployment({}, _annotated(*next(iter(wish.items()))))))["allowed"] is True
    assert "write it into the template's metadata" in _refusal(_request(_deployment(wish)))
    assert 'did you mean "enabled"' in _refusal(_request(_deployment({}, _annotated("bartizan.dev/workload-api", "enable"))))


def test_policies_are_judged() -> None:
    assert _response(_request(egress_policy()))["allowed"] is True
    assert 'unknown field "host" in spec' in _refusal(_request(egress_policy(host=[])))
    assert "needs `until`" in _refusal(_request(mesh_policy(mtls={"mode": "permissive"})))
    assert 'did you mean "enabled"' in _refusal(_request(namespace(**{"bartizan.dev/injection": "enable"})))


def test_our_parts_of_a_running_pod_stay() -> None:
    assert _response(_request(PATCHED, "UPDATE", PATCHED))["allowed"] is True
    swapped = json.loads(json.dumps(PATCHED))
    swapped["spec"]["initContainers"][1]["image"] = "evil"
    assert "container of the sidecar's would change" in _refusal(_request(swapped, "UPDATE", PATCHED))
    for sub in ("status", "resize"):
        assert "container of the sidecar's would change" in _refusal(_request(swapped, "UPDATE", PATCHED, sub=sub))
        assert _response(_request(PATCHED, "UPDATE", PATCHED, sub=sub))["allowed"] is True
    forged = json.loads(json.dumps(PATCHED))
    forged["metadata"]["annotations"]["bartizan.dev/roots"] = "another CA"
    assert "bartizan.dev/roots" in _refusal(_request(forged, "UPDATE", PATCHED))
    late = json.loads(json.dumps(PATCHED))
    late["metadata"]["annotations"]["bartizan.dev/workload-api"] = "enabled"
    assert "create the pod anew" in _refusal(_request(late, "UPDATE", PATCHED))
    renamed = json.loads(json.dumps(PATCHED))
    renamed["spec"]["containers"][0]["image"] = "orders:2"
    assert _response(_request(renamed, "UPDATE", PATCHED))["allowed"] is True


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "NET_ADMIN"),
        ({"securityContext": {"runAsUser": PATCHED["spec"]["initContainers"][1]["securityContext"]["runAsUser"]}}, "the sidecar's UID"),
        ({"volumeMounts": [{"name": "bartizan-private", "mountPath": "/x"}]}, "the sidecar's alone"),
        ({"targetContainerName": "bartizan-sidecar"}, "would enter bartizan-sidecar"),
    ],
)
def test_a_debugging_container_is_judged_like_any_other(fields: dict[str, Any], words: str) -> None:
    changed = json.loads(json.dumps(PATCHED))
    changed["spec"]["ephemeralContainers"] = [container(**fields)]
    assert words in _refusal(_request(changed, "UPDATE", PATCHED, sub="ephemeralcontainers"))
    changed["spec"]["ephemeralContainers"] = [container(name="before"), container(name="debug", targetContainerName="app")]
    before = json.loads(json.dumps(PATCHED))
    before["spec"]["ephemeralContainers"] = [container(name="before")]
    response = _response(_request(changed, "UPDATE", before, sub="ephemeralcontainers"))
    assert response["allowed"] is True
    assert [warning.split()[2] for warning in response["warnings"]] == ["debug"]
    patch = json.loads(base64.b64decode(response["patch"]))
    security = jsonpatch.apply_patch(changed, patch)["spec"]["ephemeralContainers"][1]["securityContext"]
    assert security == {"capabilities": {"drop": ["NET_ADMIN", "NET_RAW"]}}
    assert {one["path"].split("/")[3] for one in patch} == {"1"}        # what runs already cannot be changed
    strict = Cluster.of([namespace(), mesh_policy(hardening="strict")])
    assert "leaves its user to its image" in _refusal(_request(changed, "UPDATE", before, sub="ephemeralcontainers"), strict)


@pytest.mark.parametrize("kind", ["PodExecOptions", "PodAttachOptions"])
def test_nobody_enters_the_sidecar(kind: str) -> None:
    assert "nobody enters" in _refusal(_request({"container": "bartizan-sidecar"}, "CONNECT", kind=kind))
    assert _response(_request({"container": "app"}, "CONNECT", kind=kind))["allowed"] is True


@pytest.mark.parametrize(("audiences", "groups", "is_allowed"), [
    (["bartizan"], ["system:authenticated"], False), (["vault", "bartizan"], [], False), (["bartizan"], ["system:nodes"], True),
    (["vault"], [], True), ([], [], True), (None, [], True),
])
def test_a_token_for_the_mesh_is_the_kubelets_to_ask_for(audiences: object, groups: list[str], is_allowed: bool) -> None:
    request = json.loads(_request({"kind": "TokenRequest", "spec": {"audiences": audiences}}, sub="token"))
    request["request"]["userInfo"] = {"username": "somebody", "groups": groups}
    assert _response(json.dumps(request).encode())["allowed"] is is_allowed


@pytest.mark.parametrize("port", sorted(ports.OWN))
def test_nobody_forwards_a_port_of_the_sidecars(port: int) -> None:
    assert f"port {port} is the sidecar's" in _refusal(_request({"ports": [8080, port]}, "CONNECT", kind="PodPortForwardOptions"))
    for asked in ({"ports": [8080]}, {}, {"ports": None}):
        assert _response(_request(asked, "CONNECT", kind="PodPortForwardOptions"))["allowed"] is True


def test_what_is_deleted_or_none_of_ours_is_let_through() -> None:
    assert _response(_request(None, "DELETE", pod()))["allowed"] is True
    assert _response(_request({"kind": "ConfigMap"}))["allowed"] is True


GOOD = json.loads(_request(pod()))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b'{"kind": "AdmissionReview"}',
        json.dumps({**GOOD, "kind": "Review"}).encode(), json.dumps({**GOOD, "apiVersion": "admission.k8s.io/v1beta1"}).encode(),
        json.dumps({**GOOD, "request": None}).encode(), json.dumps({**GOOD, "request": {}}).encode(),
        json.dumps({**GOOD, "request": {"uid": 3}}).encode(), json.dumps({**GOOD, "request": {"uid": "u", "kind": "Pod"}}).encode(),
        json.dumps(GOOD).replace('"uid": "u-1"', '"uid": "u-1", "uid": "u-2"').encode(),
        json.dumps(GOOD).replace('"u-1"', "NaN").encode(),
    ],
)
def test_what_is_no_review_is_answered_400(body: bytes) -> None:
    answer = review(body, SETTINGS, CLUSTER)
    assert answer.status == 400
    assert json.loads(answer.body)["error"].startswith("not an AdmissionReview")


@pytest.mark.parametrize(
    "data",
    [
        None, {}, {"spec": 3}, {"spec": {"containers": "x"}}, {"spec": {"containers": [3]}}, {"metadata": []},
        pod(containers=[{"name": "app", "securityContext": "x"}]), pod(volumes={}), pod(containers=[container(livenessProbe=[])]),
        pod(volumes=[{"name": "v", "hostPath": {"path": 1}}]),
        pod(containers=[container(ports="x", livenessProbe={"tcpSocket": {"port": "x"}})]),
    ],
)
def test_a_malformed_object_never_runs_bare(data: object) -> None:
    response = _response(_request(data, kind="Pod"))
    assert response["allowed"] is False or "patch" in response


RICH = patch_pod(pod(
    securityContext={"runAsUser": 1000},
    initContainers=[container(name="i", securityContext={"capabilities": {"add": ["CHOWN"], "drop": ["X"]}})],
    containers=[container(
        ports=[{"name": "web", "containerPort": 80}],
        livenessProbe={"httpGet": {"port": "web", "path": "/", "scheme": "HTTP", "host": ""}},
        startupProbe={"tcpSocket": {"port": 81}},
        securityContext={"privileged": False, "capabilities": {"drop": []}}, volumeMounts=[{"name": "v"}],
    )],
    ephemeralContainers=[container(name="e", securityContext={"capabilities": {"add": []}})],
    volumes=[{"name": "v", "hostPath": {"path": "/data"}},
             {"name": "w", "projected": {"sources": [{"serviceAccountToken": {"audience": "x"}}]}}],
), "shop", SETTINGS).value
JUNK: list[Any] = [None, 3, True, "x", [], [3], ["x"], [[]], [{}], {}, {"x": 3}, {"name": {}}, 10**30]


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    for step, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        for path in _paths(child):
            yield (step, *path)


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
@pytest.mark.parametrize("path", [path for path in _paths(RICH) if path], ids=str)
def test_a_field_of_the_wrong_type_is_no_crash(path: tuple[Any, ...], operation: str) -> None:
    for junk in JUNK:
        data = json.loads(json.dumps(RICH))
        found = data
        for step in path[:-1]:
            found = found[step]
        found[path[-1]] = junk
        for sub in ("", "ephemeralcontainers", "status"):
            assert review(_request(data, operation, RICH, sub=sub, kind="Pod"), SETTINGS, CLUSTER).status == 200


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([
            "spec", "metadata", "annotations", "labels", "containers", "initContainers", "volumes", "name",
            "securityContext", "capabilities",
            "add", "drop", "template", "readinessProbe", "httpGet", "port", "bartizan.dev/routes", "bartizan.dev/injection", "env", "value",
            "hosts", "subjects", "hostPath", "path", "projected", "sources", "volumeMounts", "runAsUser", "ephemeralContainers",
        ]), inner, max_size=5,
    ),
    max_leaves=25,
)


@settings(max_examples=300)
@given(json_like, st.sampled_from(["Pod", "Deployment", "CronJob", "EgressPolicy", "MeshPolicy", "Namespace", "PodExecOptions",
                                   "PodPortForwardOptions", "TokenRequest"]),
       st.sampled_from(["CREATE", "UPDATE", "CONNECT"]), st.sampled_from(["", "ephemeralcontainers", "status"]))
def test_any_object_is_judged(data: object, kind: str, operation: str, sub: str) -> None:
    answer = review(_request(data, operation, data, sub=sub, kind=kind), SETTINGS, CLUSTER)
    assert answer.status in (200, 400)


# -- roots that change


def test_a_pod_with_the_roots_of_before_is_reviewed_again() -> None:
    """After a rotation of the root most pods still carry the older bundle in their annotation: that is no reason to refuse them."""
    changed = json.loads(json.dumps(PATCHED))
    changed["metadata"]["labels"]["team"] = "shop"
    now = Settings(roots="PEM of the next root")
    for body in (_request(changed, "UPDATE", old=PATCHED), _request(PATCHED, "CREATE")):
        response = json.loads(review(body, now, CLUSTER).body)["response"]
        assert response["allowed"] is True
    patch = json.loads(base64.b64decode(response["patch"]))
    assert [(one["path"], one["value"]) for one in patch] == [("/metadata/annotations/bartizan.dev~1roots", now.roots)]


# -- nothing is skipped in silence


def _labelled(data: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {**data, "metadata": {**data["metadata"], "labels": labels}}


def _from(groups: list[str], body: bytes) -> bytes:
    request = json.loads(body)
    request["request"]["userInfo"] = {"username": "x", "groups": groups}
    return json.dumps(request).encode()


def test_a_static_pod_is_shown_by_its_kubelet_and_by_nobody_else() -> None:
    mirror = _annotated("kubernetes.io/config.mirror", "x")
    response = _response(_from(["system:nodes"], _request(mirror)))
    assert response["allowed"] is True
    assert "no sidecar: it is a static pod" in response["warnings"][0]
    assert "kubernetes.io/config.mirror: only a node's kubelet" in _refusal(_from(["system:masters"], _request(mirror)))


def test_the_older_form_says_what_it_costs() -> None:
    data = _annotated("bartizan.dev/native-sidecar", "false", pod(restartPolicy="Never", securityContext={"runAsUser": 1000}))
    warnings = _response(_request(data))["warnings"]
    assert [words in warning for words, warning in zip(("may start before", "never completes"), warnings, strict=False)] == [True, True]
    assert "never completes" in _response(_request(_deployment({}, data, kind="Job")))["warnings"][1]


def test_a_workload_whose_pods_will_be_refused_says_so_at_once() -> None:
    [warning] = _response(_request(_deployment({}, pod(hostNetwork=True))))["warnings"]
    assert warning.startswith("bartizan: its pods will be refused: the pod sets hostNetwork")
    assert "warnings" not in _response(_request(_deployment({}, pod(hostNetwork=True)), where="legacy"))
    out = _deployment({}, _labelled(pod(), **{"bartizan.dev/injection": "disabled"}))
    assert "no sidecar" in _response(_request(out), Cluster.of([namespace(), mesh_policy(optOut=True)]))["warnings"][0]


def test_what_the_mesh_never_holds_cannot_be_labelled() -> None:
    for name in ("kube-system", "bartizan-system", "kube-node-lease"):
        assert f"kubectl label namespace {name} bartizan.dev/injection-" in _refusal(_request(namespace(name)))
        assert _response(_request(namespace(name, x="y")))["allowed"] is True


def test_the_revision_is_a_namespaces() -> None:
    assert _response(_request(namespace(**{"bartizan.dev/rev": "b"})))["allowed"] is True
    assert "an empty one is no control plane's" in _refusal(_request(namespace(**{"bartizan.dev/rev": ""})))
    data = _labelled(pod(), **{"bartizan.dev/rev": "b"})
    assert "kubectl label namespace NAMESPACE bartizan.dev/rev=b" in _refusal(_request(data))


def test_a_dry_run_is_answered_as_any_other() -> None:
    request = json.loads(_request(pod()))
    request["request"]["dryRun"] = True
    assert _response(json.dumps(request).encode()) == _response(_request(pod()))


def test_a_pod_with_wrong_words_from_before_goes_on_and_gets_no_new_ones() -> None:
    old = _annotated("bartizan.dev/routes", "- {}")
    finished = {**old, "metadata": {**old["metadata"], "finalizers": []}}
    for sub in ("", "status"):
        assert _response(_request(finished, "UPDATE", old, sub=sub))["allowed"] is True
        assert "line 1" in _refusal(_request(old, "UPDATE", pod(), sub=sub))


def _ingress(path: str = "/app", edge: str = "{}", of: str = "bartizan") -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rules = [{"host": "x.test", "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]
    return {"kind": "Ingress", "metadata": {"name": "i", "annotations": {"bartizan.dev/edge": edge}},
            "spec": {"ingressClassName": of, "rules": rules}}


OF_THE_EDGE = Cluster.of([
    namespace(), {"kind": "IngressClass", "metadata": {"name": "bartizan"}, "spec": {"controller": "bartizan.dev/ingress"}},
    {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}},
])


def test_what_is_to_be_served_is_judged_where_it_is_written() -> None:
    assert _response(_request(_ingress()), OF_THE_EDGE) == {"uid": "u-1", "allowed": True}
    assert "bartizan.dev/edge: line 1: unknown field" in _refusal(_request(_ingress(edge="canry: []")), OF_THE_EDGE)
    assert "Ingress i: spec.rules[0].http.paths[0].path: '/a//b' is no path" in _refusal(_request(_ingress("/a//b")), OF_THE_EDGE)
    assert _response(_request(_ingress("/a//b", of="nginx")), OF_THE_EDGE)["allowed"] is True
    route = {"kind": "HTTPRoute", "metadata": {"name": "r", "annotations": {"bartizan.dev/edge": "canry: []"}}}
    assert "unknown field" in _refusal(_request(route), OF_THE_EDGE)


def test_what_is_anothers_or_not_there_is_a_warning() -> None:
    elsewhere = OF_THE_EDGE.having({("Ingress", "other", "o"): {**_ingress(), "metadata": {
        "name": "o", "namespace": "other", "creationTimestamp": "2026-01-01T00:00:00Z"}}})
    (warning,) = _response(_request(_ingress()), elsewhere)["warnings"]
    assert warning.startswith("bartizan: the path /app (PathPrefix) of x.test is Ingress other/o's, which is older")
    (warning,) = _response(_request(_ingress()), OF_THE_EDGE.having({("Service", "shop", "web"): None}))["warnings"]
    assert "there is no Service web in namespace shop" in warning
