from pathlib import Path

import pytest

from injector.cli.egress import main
from sidecar.model.errors import ConfigError
from tests.injector.audit.support import PAYMENTS, World
from tests.injector.egress.support import refuse, tell

from .conftest import Program

SINCE = "2026-05-01T00:00Z"     # before what the stores tell of


@pytest.fixture
def state(tmp_path: Path) -> Path:
    world = World(tmp_path / "ledger")
    tell(world, "a.example", "tls:443")
    tell(world, "pay.example", "tls:443", local=PAYMENTS)
    refuse(world, "b.example", "plain:80")
    tell(world, "c.example", "tls:nowhere")
    world.store()
    return tmp_path


def test_the_state_directory_or_files(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["propose", "--state", str(state), "--since", SINCE]) == 0
    told = capsys.readouterr()
    assert 'host: "a.example"' in told.out
    assert 'host: "pay.example"' in told.out
    assert "b.example" not in told.out
    assert told.err == "bartizan: 1 records are left out: they do not say which host, which port or how\n"
    assert main(["propose", str(state / "ledger"), "--since", SINCE]) == 0
    assert capsys.readouterr().out == told.out


def test_one_workload_and_its_refusals(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["propose", "--state", str(state), "--since", SINCE, "--workload", "shop/web", "--with-refused"]) == 0
    out = capsys.readouterr().out
    assert 'host: "b.example"' in out
    assert "pay.example" not in out
    with pytest.raises(ConfigError, match="no NAMESPACE/SERVICE-ACCOUNT"):
        main(["propose", "--state", str(state), "--workload", "web"])


def test_nothing_seen_is_said(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["propose", "--state", str(state), "--since", SINCE, "--workload", "shop/other"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "nothing was seen" in told.err


def test_what_cannot_be_believed_is_said(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (state / "ledger" / "pay").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"pay.example", b"evil.test"))
    main(["propose", "--state", str(state), "--since", SINCE])
    told = capsys.readouterr()
    assert "evil.test" not in told.out
    assert "bartizan audit verify" in told.err


APPROVED = """\
kind: Deployment
apiVersion: apps/v1
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: app}]}}}
---
apiVersion: bartizan.dev/v1alpha1
kind: EgressPolicy
metadata: {name: partners}
spec: {subjects: [{namespace: %s}], ranges: [{cidr: 203.0.113.0/24, ports: [5432]}]}
"""


def test_as_network_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text(APPROVED % "shop")
    assert main(["propose", "-o", "networkpolicy", "-f", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert '- ipBlock: {cidr: "203.0.113.0/24"}\n      ports: [{port: 5432, protocol: TCP}]' in told
    assert main(["propose", "-o", "networkpolicy", "-f", str(tmp_path), "--workload", "shop/other"]) == 2
    (tmp_path / "x.yaml").write_text(APPROVED % "other")
    assert main(["propose", "-o", "networkpolicy", "-f", str(tmp_path)]) == 2
    assert "no EgressPolicy means a workload" in capsys.readouterr().err


def test_of_the_cluster(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    program("""
case "$*" in
*egresspolicies*) echo '{"items": [{"apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": "partners"},
    "spec": {"subjects": [{"namespace": "shop"}], "ranges": [{"cidr": "203.0.113.0/24"}]}}]}' ;;
*policies*|*"get namespaces"*) echo '{"items": []}' ;;
*pods*) echo '{"items": [{"kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}}, "spec": {}}]}' ;;
esac""")
    assert main(["propose", "-o", "networkpolicy", "--context", "one"]) == 0
    assert "# shop/web, by EgressPolicy partners" in capsys.readouterr().out
