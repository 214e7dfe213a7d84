"""What can be said of an installation, and what a mistake in it is told."""

from pathlib import Path

import pytest

from injector.manifests.plan import Amounts, Plan, Resources, plan_of, read_plan, values_of
from sidecar.model.errors import ConfigError


def test_nothing_said_is_the_default() -> None:
    assert read_plan() == Plan() == plan_of(values_of(Plan()))


def test_later_counts_before_earlier_field_by_field(tmp_path: Path) -> None:
    for name, text in {"a": "replicas: 3\npersistence: {size: 1Gi, storageClass: fast}", "b": "persistence: {size: 2Gi}"}.items():
        (tmp_path / name).write_text(text)
    plan = read_plan([str(tmp_path / "a"), str(tmp_path / "b")], ["persistence.storageClass=slow", "secretNamespaces=[shop, billing]"])
    assert (plan.replicas, plan.persistence.size, plan.persistence.storage_class) == (3, "2Gi", "slow")
    assert plan.secret_namespaces == ("shop", "billing")


def test_one_amount_leaves_the_others_as_they_are() -> None:
    of_the_injector = read_plan(sets=["resources.injector.limits.memory=2Gi"]).resources.injector
    assert of_the_injector == Resources(Plan().resources.injector.requests, Amounts(memory="2Gi"))


@pytest.mark.parametrize(("said", "why"), [
    ("replica=3", 'unknown field "replica"; did you mean "replicas"?'),
    ("persistence.sise=1Gi", 'unknown field "sise" in persistence'),
    ("replicas=many", "replicas: expected a whole number, got text"),
    ("replicas=0", "replicas: expected a whole number >= 1"),
    ("imagePullPolicy=Sometimes", '"Sometimes" is not valid; known here: Always, IfNotPresent, Never'),
    ("image=a b", "image: "), ("trustDomain=A", "trustDomain: "), ("revision=v.2", "revision: "),
    ("persistence.size=much", "persistence.size: "), ("secretNamespaces=[A]", "secretNamespaces[0]: "),
    ("revision=replicas", "is taken by the Service of all revisions"),
    ("trustDomain=a..b", "trust"),
    ("replicas", "'replicas' is not KEY=VALUE"), ("=3", "is not KEY=VALUE"), ("replicas=*a", "--set replicas: line 1"),
])
def test_mistakes(said: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_plan(sets=[said])
    assert why in str(caught.value)


@pytest.mark.parametrize(("text", "why"), [(b"- 1", "it holds no fields"), (b"\xff", "not valid UTF-8"), (b"a: [", "not YAML")])
def test_files_that_are_none(tmp_path: Path, text: bytes, why: str) -> None:
    (tmp_path / "values.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=why):
        read_plan([str(tmp_path / "values.yaml")])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_plan([str(tmp_path / "values.yaml")])
