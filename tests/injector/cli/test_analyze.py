import json
from pathlib import Path

import pytest

from injector.cli.analyze import analyze, main
from injector.cli.exits import FINDINGS

from .conftest import Program

LOOSE = """\
kind: Namespace
apiVersion: v1
metadata: {name: shop, labels: {bartizan.dev/injection: enabled}}
---
apiVersion: bartizan.dev/v1alpha1
kind: EgressPolicy
metadata: {name: partners}
spec:
  subjects: [{namespace: shop}]
  hosts: [{host: "*.partner.example"}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
  namespace: shop
  annotations:
    bartizan.dev/routes: |
      - name: read
        port: 8080
        allow: [{serviceAccount: web}]
spec:
  template:
    metadata:
      annotations:
        bartizan.dev/egress: '[{host: api.partner.example}]'
    spec:
      securityContext: {runAsUser: 1000}
      containers: [{name: app}]
"""
CLOSED = "{name: app, securityContext: {allowPrivilegeEscalation: false}}"
CLEAN = LOOSE.replace("{name: app}", CLOSED)


def _analyze(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return [line.replace(str(path), "FILE") for line in analyze([str(path)])]


def test_nothing_is_found_in_what_admission_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(CLEAN)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("port: 8080", "prot: 8080",
         'Error [BZ0701] (Deployment orders.shop FILE:20) bartizan.dev/routes: line 2: unknown field "prot" in [0]; did you mean "port"?'),
        ("bartizan.dev/routes", "bartizan.dev/rotues",
         "Error [BZ0702] (Deployment orders.shop FILE:18) bartizan.dev/rotues: there is no such annotation; "
         'did you mean "bartizan.dev/routes"?'),
        ("host: api.partner.example", "host: api.other.example",
         'Error [BZ0703] (Deployment orders.shop FILE:26) bartizan.dev/egress: line 1: no EgressPolicy approves host "api.other.example" '
         "for service account default of namespace shop: none names it; have one approve it, or remove the entry"),
        (CLOSED, "{name: app, securityContext: {privileged: true}}",
         "Error [BZ0704] (Deployment orders.shop FILE:27) "
         "container app is privileged and could undo the interception; remove securityContext.privileged"),
        (CLOSED, "{name: app, livenessProbe: {httpGet: {port: 15021}}}",
         "Error [BZ0704] (Deployment orders.shop FILE:27) "
         "container app: livenessProbe: httpGet.port: 15021 is the sidecar's; ask the application's"),
        ("hosts: [", "hots: [", 'Error [BZ0701] (EgressPolicy partners FILE:10) unknown field "hots" in spec; did you mean "hosts"?'),
        ('"*.partner.example"', '"*"',
         "Error [BZ0701] (EgressPolicy partners FILE:10) spec.hosts[0].host: '*' is no host name; "
         "a wildcard is one star for whole labels at the front: *.example.com"),
        ("injection: enabled", "injection: on",
         'Error [BZ0702] (Namespace shop FILE:3) bartizan.dev/injection: "on" is not valid; known here: disabled, enabled'),
        ("kind: Namespace", "kind: &a Namespace",
         "Error [BZ0705] (FILE:1) anchors and aliases (& and *) are not read; write the value out"),
    ],
)
def test_a_finding_names_code_object_file_and_line(right: str, wrong: str, line: str, tmp_path: Path) -> None:
    assert right in CLEAN
    assert line in _analyze(tmp_path, CLEAN.replace(right, wrong))


def test_findings_have_their_own_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere.yaml")]) == FINDINGS == 79
    assert "BZ0705" in capsys.readouterr().out


def test_one_malformed_object_hides_no_other(tmp_path: Path) -> None:
    lines = _analyze(tmp_path, CLEAN.replace("port: 8080", "prot: 8080") + "---\nkind: Pod\nmetadata: {name: p, labels: 3}\n")
    assert len(lines) == 2
    assert "BZ0701" in lines[0]
    assert "metadata.labels" in lines[1]


def test_what_other_objects_decide_is_not_guessed(tmp_path: Path) -> None:
    deployment = CLEAN.split("---\n")[2].replace(CLOSED, "{name: app, securityContext: {privileged: true}}")
    assert _analyze(tmp_path, deployment) == []


def test_permissive_modes_whose_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text("""\
apiVersion: bartizan.dev/v1alpha1
kind: MeshPolicy
metadata: {name: default}
spec:
  mtls:
    mode: permissive
    until: "2026-12-31T00:00:00Z"
    ports:
      "8080":
        mode: permissive
        until: "2026-06-30T00:00:00Z"
      "9090":
        mode: strict
""")
    june, december = 1782777600.0, 1798675200.0
    assert analyze([str(path)], lambda: june - 1) == []
    port = f"Error [BZ0707] (MeshPolicy default {path}:11) permissive ended 2026-06-30T00:00:00+00:00: port 8080 is strict"
    assert analyze([str(path)], lambda: june) == [port]
    rest = f"Error [BZ0707] (MeshPolicy default {path}:7) permissive ended 2026-12-31T00:00:00+00:00: "
    whole = f"{rest}every port that is not listed is strict"
    assert analyze([str(path)], lambda: december) == [whole, port]


def test_what_admission_lets_pass_is_a_warning_and_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(LOOSE)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == (
        f"Warning [BZ0708] (Deployment orders.shop {path}:27) container app could take the sidecar's UID and pass it by "
        "(allowPrivilegeEscalation not false); set them, or hardening: strict\n")


MESH = """\
---
apiVersion: bartizan.dev/v1alpha1
kind: MeshPolicy
metadata: {name: default}
spec: {exclusions: {inboundPorts: [9100]}, udp: [{cidr: 10.0.0.0/8, ports: [123]}]}
"""


def test_what_passes_the_sidecar_by_is_told(tmp_path: Path) -> None:
    egress = "        bartizan.dev/egress:"
    wish = CLEAN.replace(egress, f"        bartizan.dev/exclude: 'inboundPorts: [9100]'\n{egress}")
    told = [line.partition(") ")[2].partition(" passes")[0] for line in _analyze(tmp_path, wish + MESH)]
    assert told == ["UDP to 10.0.0.0/8 port 123", "TCP into port 9100"]
    [refused] = [line for line in _analyze(tmp_path, wish.replace("[9100]", "[9101]") + MESH) if line.startswith("Error")]
    assert "[BZ0709]" in refused
    assert "no MeshPolicy that selects the pod lets 9101 be excluded" in refused
    assert not [line for line in _analyze(tmp_path, wish) if "BZ0709" in line]      # without a MeshPolicy nobody knows


def test_waivers_and_observations_whose_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text("""\
apiVersion: bartizan.dev/v1alpha1
kind: MeshPolicy
metadata: {name: default}
spec:
  egress:
    mode: observe
    until: "2026-12-31T00:00:00Z"
---
apiVersion: bartizan.dev/v1alpha1
kind: EgressPolicy
metadata: {name: partners}
spec:
  subjects: [{namespace: shop}]
  hosts:
    - host: a.partner.example
      waivers:
        - check: expiry
          until: "2026-06-30T00:00:00Z"
          reason: they renew it
""")
    june, december = 1782777600.0, 1798675200.0
    assert analyze([str(path)], lambda: june - 1) == []
    waiver = (f"Error [BZ0710] (EgressPolicy partners {path}:18) the waiver of expiry for a.partner.example ended "
              "2026-06-30T00:00:00+00:00: the check holds again")
    assert analyze([str(path)], lambda: june) == [waiver]
    observation = (f"Error [BZ0710] (MeshPolicy default {path}:7) observe ended 2026-12-31T00:00:00+00:00: "
                   "what no EgressPolicy approves is refused")
    assert analyze([str(path)], lambda: december) == [observation, waiver]


@pytest.mark.parametrize(("kind", "words"), [
    ("EgresPolicy", 'has no kind "EgresPolicy"; did you mean "EgressPolicy"?'), ("Gateway", "known here: EgressPolicy, MeshPolicy"),
])
def test_a_kind_of_ours_that_there_is_not(kind: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"apiVersion: bartizan.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: p}}\nspec: {{}}\n")
    (line,) = analyze([str(tmp_path)])       # a folder stands for what is in it
    assert "a.yaml:2)" in line
    assert words in line


def test_what_is_no_object_names_its_file_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("- a\n")
    (line,) = analyze([str(path)])
    assert line.count("a.yaml") == 1


IN_ANNOTATION = "kind: Pod\nmetadata:\n  name: a\n  annotations:\n    bartizan.dev/egress: |\n      - host: b.example\n      - {}\n"
IN_POLICY = ("apiVersion: bartizan.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{name: p}}\nspec:\n  subjects: []\n  hosts:\n"
             "    - {{host: a.example, {}}}\n")


@pytest.mark.parametrize(("where", "written", "words"), [
    (IN_ANNOTATION, "host: *.example.com", "put what begins with * or & into quotes"),
    (IN_ANNOTATION, "{host: a.example, cidr: 203.0.113.0/24}", "either `host` or `cidr`; remove one"),
    (IN_ANNOTATION, "host: a.example:8443", "which ports, says `ports`"),
    (IN_POLICY, "protocols: [tls], methods: [GET]", "would hide methods, so nothing would pass"),
    (IN_POLICY, "protocols: [tls], subjectAltNames: [b.example]", "would hide subjectAltNames"),
    (IN_POLICY, "methods: [get]", "a method in capitals, such as GET"),
    (IN_POLICY, "keyPins: [abc]", "the base64 of a public key's digest"),
    (IN_POLICY, "waivers: [{check: expiry, until: 2027-01-31, reason: x}]", "a date with time and zone, such as 2027-01-31T00:00:00Z"),
])
def test_slips_name_the_line_and_the_cure(where: str, written: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(where.format(written))
    (line,) = analyze([str(path)])
    assert "a.yaml:7)" in line
    assert words in line


def test_an_entry_that_nobody_approves_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("kind: Pod\nmetadata:\n  name: a\n  annotations:\n    bartizan.dev/egress: |\n      - host: a.example\n"
                    "      - host: b.example\n---\napiVersion: bartizan.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: p}\n"
                    "spec: {subjects: [{namespaceSelector: {}}], hosts: [{host: a.example}]}\n")
    (line,) = analyze([str(path)])
    assert "a.yaml:7) bartizan.dev/egress: line 2: no EgressPolicy approves host \"b.example\"" in line


# -- in a cluster

CLUSTER = """
case "$*" in
*"get namespace shop"*) echo '{"kind": "Namespace", "metadata": {"name": "shop", "labels": {"bartizan.dev/injection": "enabled"}}}' ;;
*egresspolicies*) echo '{"items": [{"apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": "partners"},
    "spec": {"subjects": [{"namespace": "shop"}], "hosts": [{"host": "*.partner.example"}]}}]}' ;;
*meshpolicies*|*networkpolicies*) echo '{"items": []}' ;;
*pods*) echo '{"items": [%s]}' ;;
*) echo "what? $*" >&2; exit 1 ;;
esac"""
LIVE = ('{"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop"%s}, "spec": {"containers": [{"name": "app"}]}, '
        '"status": {"phase": "Running"}}')


def test_a_cluster_is_judged_by_the_same_functions(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    asking = ', "annotations": {"bartizan.dev/egress": "[{host: api.other.example}]"}'
    program(CLUSTER % LIVE.replace("%s", asking))
    assert main(["-n", "shop"]) == FINDINGS
    found = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in found] == ["Error [BZ0703]", "Warning [BZ0708]", "Error [BZ0712]"]
    assert "(Pod web-1.shop)" in found[0]


def test_a_cluster_in_which_nothing_is_wrong_says_so(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    program(CLUSTER % "")
    assert main(["-n", "shop"]) == 0
    assert capsys.readouterr().out == "√ nothing found in the namespace shop: 2 objects\n"
    assert main(["-n", "shop", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_files_are_judged_as_they_would_be_in_the_cluster(program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(CLUSTER % LIVE.replace("%s", ""))
    path = tmp_path / "x.yaml"
    path.write_text(CLEAN.split("---\n")[2].replace("api.partner.example", "api.other.example"))     # the deployment alone
    assert analyze([str(path)]) == []
    assert main([str(path), "-n", "shop"]) == FINDINGS
    line, = capsys.readouterr().out.splitlines()
    assert f"[BZ0703] (Deployment orders.shop {path}:" in line


def test_warnings_may_count(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(LOOSE)
    assert main([str(path), "-o", "sarif"]) == 0
    assert main([str(path), "--fail-on", "warning"]) == FINDINGS
