"""Lists and events in, changes out: whole and byte by byte, and whatever else an API server may say."""

import json
from typing import Any

import msgspec
import pytest

from certs.kubernetes import GONE, ApiError, LineSplitter
from injector.cluster.kinds import KINDS, Collection, Kind
from injector.cluster.reflector import Changes, Reflector


def kind(name: str) -> Kind:
    return next(one for one in KINDS if one.name == name)


def pod(name: str, version: int, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": f"u-{name}", "resourceVersion": str(version), "managedFields": [{"f": 1}]},
        "spec": spec, "status": {"phase": phase, "startTime": f"2026-01-01T00:00:{version:02}Z"},
    }


def raws(*items: dict[str, Any]) -> list[msgspec.Raw]:
    return [msgspec.Raw(json.dumps(item).encode()) for item in items]


def event(what: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": what, "object": item}).encode()


class World:
    def __init__(self, of: str = "Pod") -> None:
        self.reports: list[str] = []
        self.reflector = Reflector(Collection(kind(of)), self.reports.append)

    def listed(self, version: int, *items: dict[str, Any]) -> Changes:
        return self.reflector.listed(self.reflector.read(raws(*items)), str(version))

    def event(self, what: str, item: dict[str, Any]) -> Changes:
        return self.reflector.event(event(what, item))


def names(changes: Changes) -> dict[str, bool]:
    """By name, whether it is there."""
    return {name: item is not None for (_, _, name), item in changes.items()}


def test_a_list_and_what_follows() -> None:
    world = World()
    assert names(world.listed(10, pod("a", 3), pod("b", 7))) == {"a": True, "b": True}
    assert world.reflector.version == "10"
    assert names(world.event("ADDED", pod("c", 11))) == {"c": True}
    assert names(world.event("MODIFIED", pod("a", 12, "Failed"))) == {"a": True}
    assert names(world.event("DELETED", pod("b", 13))) == {"b": False}
    assert world.reflector.version == "13"
    assert {ref[2]: item["status"]["phase"] for ref, item in world.reflector.held.items()} == {"a": "Failed", "c": "Running"}


def test_what_nobody_reads_is_no_change() -> None:
    world = World()
    world.listed(10, pod("a", 3))
    assert world.event("MODIFIED", pod("a", 12)) == {}
    assert world.reflector.version == "12"
    assert world.listed(20, pod("a", 15)) == {}
    (held,) = world.reflector.held.values()
    assert held == {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "a", "uid": "u-a"}, "spec": {},
        "status": {"phase": "Running"},
    }


def test_a_pod_of_the_same_name_is_another() -> None:
    world = World()
    world.listed(10, pod("a", 3))
    again = pod("a", 12)
    again["metadata"]["uid"] = "u-again"
    assert names(world.event("MODIFIED", again)) == {"a": True}


def test_a_list_anew_tells_the_difference() -> None:
    world = World()
    world.listed(10, pod("a", 3), pod("b", 7), pod("c", 8))
    changes = world.listed(30, pod("a", 3), pod("c", 25, "Failed"), pod("d", 26))
    assert names(changes) == {"b": False, "c": True, "d": True}


def test_a_bookmark_says_how_far_we_are_and_nothing_else() -> None:
    world = World()
    world.listed(10, pod("a", 3))
    assert world.event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "99"}, "spec": {"containers": None}}) == {}
    assert (world.reflector.version, len(world.reflector.held)) == ("99", 1)


def test_deleting_what_is_not_there_is_no_change() -> None:
    world = World()
    world.listed(10)
    assert world.event("DELETED", pod("a", 11)) == {}


@pytest.mark.parametrize(("code", "version"), [(410, ""), (500, "10"), (504, "10")])
def test_an_error_says_where_to_go_on(code: int, version: str) -> None:
    world = World()
    world.listed(10, pod("a", 3))
    with pytest.raises(ApiError, match=f"ended: {code} too old") as caught:
        world.event("ERROR", {"kind": "Status", "code": code, "message": "too old"})
    assert caught.value.status == code
    assert (world.reflector.version, len(world.reflector.held)) == (version, 1)
    assert GONE == 410


NONSENSE = [
    b"", b"{", b"[]", b"null", b"[" * 5000, b"\xff", b'{"type": "ADDED"}', b'{"type": "ADDED", "object": 1}', b'{"type": 1, "object": {}}',
    b'{"type": "ADDED", "object": {"metadata": {"name": "a"}}}', b'{"type": "BOOKMARK", "object": {}}',
    b'{"type": "DELETED", "object": {"metadata": {"resourceVersion": "1"}}}', b'{"type": "ERROR", "object": []}',
    b'{"type": "MOVED", "object": {"metadata": {"name": "a", "resourceVersion": "1"}}}',
]


@pytest.mark.parametrize("line", NONSENSE)
def test_nonsense_changes_nothing(line: bytes) -> None:
    world = World()
    world.listed(10, pod("a", 3))
    with pytest.raises(ApiError):
        world.reflector.event(line)
    assert (world.reflector.version, len(world.reflector.held)) == ("10", 1)


def test_a_list_with_nonsense_in_it_changes_nothing() -> None:
    world = World()
    world.listed(10, pod("a", 3))
    for item in ({}, {"metadata": {"name": "x"}}, {"metadata": []}):
        with pytest.raises(ApiError, match="not understood"):
            world.listed(20, pod("b", 11), item)
    assert (world.reflector.version, len(world.reflector.held)) == ("10", 1)


def broken(name: str, version: int) -> dict[str, Any]:
    return pod(name, version, containers=[{"name": "app", "ports": "8080"}])


def test_one_that_cannot_be_read_keeps_what_was_read_before() -> None:
    world = World()
    world.listed(10, pod("a", 3), broken("b", 4))
    assert names(world.event("MODIFIED", broken("a", 11))) == {}
    assert world.reflector.version == "11"
    assert {ref[2] for ref in world.reflector.held} == {"a"}
    assert {ref[2] for ref in world.reflector.unreadable} == {"b"}
    assert world.reports == [
        "Pod shop/b cannot be read: Pod b: ports: expected a list of objects; it counts as if it were not there: correct it",
        "Pod shop/a cannot be read: Pod a: ports: expected a list of objects; what was read before counts: correct it",
    ]
    assert names(world.listed(20, broken("a", 11), broken("b", 4))) == {}
    assert len(world.reports) == 2      # each version once
    assert names(world.event("MODIFIED", pod("b", 21))) == {"b": True}
    assert not world.reflector.unreadable
    assert names(world.event("DELETED", broken("a", 22))) == {"a": False}


def test_a_broken_one_that_goes_is_forgotten() -> None:
    world = World("MeshPolicy")
    policy = {"metadata": {"name": "all", "uid": "u", "resourceVersion": "3"}, "spec": {"mtls": {"mode": "lax"}}}
    world.listed(10, policy)
    assert {ref[2] for ref in world.reflector.unreadable} == {"all"}
    world.listed(20)
    assert not world.reflector.unreadable
    world.listed(30, policy)
    assert len(world.reports) == 2


def test_nobody_follows_it_any_more() -> None:
    world = World()
    world.listed(10, pod("a", 3))
    assert names(world.reflector.ended()) == {"a": False}
    assert world.reflector.version == ""
    assert names(world.listed(10, pod("a", 3))) == {"a": True}


TEXT = b"\n".join([
    event("ADDED", pod("a", 11)), event("MODIFIED", pod("a", 12, "Failed")), event("BOOKMARK", {"metadata": {"resourceVersion": "13"}}),
    event("DELETED", pod("a", 14)), b"",
])


@pytest.mark.parametrize("size", [1, 2, 7, 100, len(TEXT)])
def test_a_stream_cut_into_pieces_says_the_same(size: int) -> None:
    world, splitter, seen = World(), LineSplitter(), []
    world.listed(10)
    for at in range(0, len(TEXT), size):
        for line in splitter.feed(TEXT[at:at + size]):
            seen += list(names(world.reflector.event(line)).items())
    assert seen == [("a", True), ("a", True), ("a", False)]
    assert world.reflector.version == "14"
