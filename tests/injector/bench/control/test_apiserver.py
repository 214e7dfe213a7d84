"""Where the API server is looked for; the end-to-end tests run one."""

from pathlib import Path

import pytest

from injector.bench.control import apiserver
from injector.bench.control.apiserver import program
from injector.bench.errors import NotAvailable


@pytest.fixture(autouse=True)
def etcd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_it_is_that_of_the_end_to_end_tests(tmp_path: Path) -> None:
    modules, found = tmp_path / "go.mod", tmp_path / "kubernetes-1.2.3" / "kube-apiserver"
    modules.write_text("module e2e\n\nrequire k8s.io/kubernetes v1.2.3 // indirect\n")
    with pytest.raises(NotAvailable, match=r"kube-apiserver is not built; `\.ci/setup bench`"):
        program(modules, tmp_path)
    found.parent.mkdir()
    found.touch()
    assert program(modules, tmp_path) == str(found)


def test_the_version_is_found_where_the_tests_have_it(tmp_path: Path) -> None:
    version = next(line.split()[-1 if line.split()[-1] != "indirect" else -3].removeprefix("v")
                   for line in apiserver.MODULES.read_text().splitlines() if "k8s.io/kubernetes v" in line)
    found = tmp_path / f"kubernetes-{version}" / "kube-apiserver"
    found.parent.mkdir()
    found.touch()
    assert program(cache=tmp_path) == str(found)


def test_without_etcd_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "etcd").unlink()
    with pytest.raises(NotAvailable, match="etcd is not installed"):
        program(tmp_path / "go.mod", tmp_path)
