"""What `bartizan upgrade` refuses, and that it prints what `install` prints."""

import json
from pathlib import Path

import pytest

from injector.cli.installed import Stays
from injector.cli.upgrade import main
from injector.manifests import manifests
from injector.manifests.plan import read_plan

from .fake_kubectl import FakeKubectl, namespace

INSTALLED = ["trustDomain=mesh.example", "persistence.size=1Gi"]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    made = FakeKubectl(tmp_path, monkeypatch)
    made.put(*manifests(read_plan(sets=INSTALLED)), namespace("shop", injection="enabled"))
    return made


def asked(*sets: str) -> list[str]:
    return [word for one in (*INSTALLED, *sets) for word in ("--set", one)]


def test_it_prints_what_install_prints(cluster: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*asked("image=bartizan:2"), "-o", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["items"] == json.loads(json.dumps(manifests(read_plan(sets=[*INSTALLED, "image=bartizan:2"]))))
    assert "beside what is there" not in err


def test_another_revision_has_to_be_chosen(cluster: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*asked(), "--revision", "v2"]) == 0
    err = capsys.readouterr().err
    assert "kubectl label namespace NAME bartizan.dev/rev=v2 --overwrite" in err
    assert "namespaces of the mesh: shop" in err


@pytest.mark.parametrize(("sets", "why"), [
    (["trustDomain=other.example"], "the trust domain is 'mesh.example', and stays so.*say --set trustDomain=mesh.example"),
    (["persistence.size=2Gi"], r"bartizan-\w+ keeps on its volumes.*1Gi of the default class.*2Gi.*--cascade=orphan"),
    (["persistence.size=''"], "nothing that outlives a pod"),
])
def test_what_cannot_be_changed_prints_nothing(
    cluster: FakeKubectl, capsys: pytest.CaptureFixture[str], sets: list[str], why: str
) -> None:
    with pytest.raises(Stays, match=why):
        main(asked(*sets))
    assert capsys.readouterr().out == ""


def test_where_nothing_is_there_is_nothing_to_upgrade(cluster: FakeKubectl) -> None:
    cluster.put()
    with pytest.raises(Stays, match="nothing to upgrade"):
        main(asked())
