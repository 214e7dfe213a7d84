from pathlib import Path

import msgspec
import pytest

from injector.cluster import Cluster
from injector.compile.last_good import LastGood
from injector.documents import ROUTES, RouteRule
from injector.validate import Reading, read_routes
from sidecar.model.errors import ConfigError


def _merge(store: LastGood, text: str, workload: str = "w") -> dict[str, int | None]:
    rules = store.merge(workload, ROUTES, read_routes(text), lambda data: msgspec.convert(data, RouteRule))
    return {name: rule.port for name, rule in rules.items()}


def test_a_broken_rule_keeps_its_previous_version_and_the_others_go_on() -> None:
    store = LastGood()
    assert _merge(store, "- {name: a, allow: [], port: 1}\n- {name: b, allow: [], port: 1}") == {"a": 1, "b": 1}
    assert _merge(store, "- {name: a, allow: [], prot: 2}\n- {name: b, allow: [], port: 2}") == {"a": 1, "b": 2}
    assert _merge(store, "- {name: a, allow: [], prot: 3}\n- {name: c, alow: []}") == {"a": 1}
    assert _merge(store, "{ not a list") == {"a": 1}
    assert _merge(store, "[]") == {}
    assert _merge(store, "- {name: a, allow: [], prot: 3}") == {}


def test_workloads_do_not_share() -> None:
    store = LastGood()
    _merge(store, "- {name: a, allow: [], port: 1}", "one")
    assert _merge(store, "{", "other") == {}


def test_an_annotation_that_is_gone_is_forgotten() -> None:
    store = LastGood()
    _merge(store, "- {name: a, allow: []}")
    store.forget("w", ROUTES)
    assert _merge(store, "{") == {}


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    """Else each pod and Job that there ever was would stay, in memory and on the disk."""
    path = tmp_path / "state.json"
    store = LastGood.load(path)
    for workload in ("shop/Deployment/web", "shop/Pod/web-1", "shop/Job/old", "shop/Pod/old", "other/Deployment/web"):
        _merge(store, "- {name: a, allow: []}", workload)
        store.read(workload, ROUTES, "- {name: a, allow: []}", read_routes, lambda data: msgspec.convert(data, RouteRule))
    store.save()
    store.forget_gone(Cluster.of([
        {"kind": kind, "metadata": {"name": name, "namespace": "shop"}} for kind, name in (("Deployment", "web"), ("Pod", "web-1"))]))
    store.save()
    assert msgspec.json.decode(path.read_bytes()).keys() == {"shop/Deployment/web", "shop/Pod/web-1"}
    assert _merge(store, "{", "shop/Deployment/web") == {"a": None}
    assert _merge(store, "{", "shop/Job/old") == {}
    assert store.read("shop/Pod/old", ROUTES, "- {name: a, alow: []}", read_routes, lambda data: msgspec.convert(data, RouteRule))[0] == {}


def test_a_restart_remembers(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    store = LastGood.load(path)
    _merge(store, "- {name: a, allow: [{serviceAccount: web}], port: 1}")
    store.save()
    assert _merge(LastGood.load(path), "{") == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


def test_what_another_version_wrote_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"w": {"bartizan.dev/routes": {"a": {"name": "a", "newField": 1}}}}')
    assert _merge(LastGood.load(path), "{") == {}


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match="delete it"):
        LastGood.load(path)


def test_a_text_is_read_once() -> None:
    store, texts = LastGood(), []

    def read(text: str) -> Reading[RouteRule]:
        texts.append(text)
        return read_routes(text)

    def entries(text: str) -> list[str]:
        return list(store.read("w", ROUTES, text, read, lambda data: msgspec.convert(data, RouteRule))[0])

    one, other = "- {name: a, allow: []}", "- {name: b, allow: []}"
    assert [entries(text) for text in (one, one, other, one)] == [["a"], ["a"], ["b"], ["a"]]
    assert texts == [one, other, one]
    store.forget("w", ROUTES)
    assert entries(one) == ["a"]
    assert len(texts) == 4


def test_to_and_fro_is_no_reason_to_write(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    store = LastGood.load(path)
    one, other = "- {name: a, allow: []}", "- {name: b, allow: []}"
    _merge(store, one)
    store.save()
    path.unlink()
    _merge(store, other)
    _merge(store, one)
    store.save()
    assert not path.exists()
    _merge(store, other)
    store.save()
    assert path.exists()
