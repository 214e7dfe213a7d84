"""The file follows the cluster, and a change costs what changed."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from injector.audit import coverage_file
from injector.audit.coverage import Coverage, coverage
from injector.audit.coverage_file import EVERY_S, CoverageFile
from injector.cluster import Cluster, Ref, ref_of
from injector.cluster.objects import Object
from sidecar.net.watched import Watched
from tests.injector.pods import mesh_policy, namespace


def pod(name: str, of: str = "shop", *, is_meshed: bool = True, owner: str = "") -> dict[str, Any]:
    owners = [{"kind": "StatefulSet", "name": owner, "controller": True}] if owner else []
    return {
        "kind": "Pod", "metadata": {"namespace": of, "name": name, "uid": f"u-{name}", "ownerReferences": owners},
        "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "bartizan-sidecar"}] if is_meshed else []},
        "status": {"phase": "Running"},
    }


def changed(cluster: Cluster, *items: dict[str, Any]) -> Cluster:
    change: dict[Ref, Any] = {ref_of(Object(item)): item for item in items}
    return cluster.having(change)


FIRST = Cluster.of([namespace(), pod("a"), pod("b", is_meshed=False), pod("c", owner="web")])
CHANGES: dict[str, tuple[tuple[dict[str, Any], ...], list[str]]] = {
    "another pod": ((pod("b"),), ["b"]),
    "one more": ((pod("d"),), ["d"]),
    "its owner": (({"kind": "StatefulSet", "metadata": {"namespace": "shop", "name": "web"}},), ["c"]),
    "its namespace": ((namespace(**{"bartizan.dev/injection": "disabled"}),), ["a", "b", "c"]),
    "a policy": ((mesh_policy(mtls={"mode": "permissive", "until": "2099-01-01T00:00:00Z"}),), ["a", "b", "c"]),
    "another namespace": ((namespace("bank"),), []),
    "what is not looked at": (({"kind": "Service", "metadata": {"namespace": "shop", "name": "web"}},), []),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_only_what_changed_is_looked_at(name: str, tmp_path: Path) -> None:
    items, wanted = CHANGES[name]
    file = CoverageFile(tmp_path / "coverage.json")
    await file.look(FIRST)
    before = {pod: look for (_, pod), (_, look) in file._looks.items()}
    now = changed(FIRST, *items)
    assert await file.look(now) == coverage(now)
    assert [pod for (_, pod), (_, look) in file._looks.items() if look is not before.get(pod)] == wanted


async def test_others_have_their_turn_between_many_pods(tmp_path: Path) -> None:
    file, turns, is_done = CoverageFile(tmp_path / "coverage.json"), 0, False

    async def look() -> None:
        nonlocal is_done
        await file.look(Cluster.of(pod(f"p{number}") for number in range(100)))
        is_done = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        while not is_done:
            await trio.lowlevel.checkpoint()
            turns += 1
    assert turns >= 100 / coverage_file.AT_ONCE


async def test_the_file_follows(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    path, cluster = tmp_path / "ledger" / "coverage.json", Watched(FIRST)
    nursery.start_soon(CoverageFile(path).follow, cluster)
    await trio.sleep(EVERY_S)
    assert "is not written down" in capfd.readouterr().err
    path.parent.mkdir()
    cluster.set(changed(FIRST, pod("d")))
    await trio.sleep(EVERY_S)
    assert {one.name for one in read(path).pods} == {"a", "b", "c", "d"}


def read(path: Path) -> Coverage:
    return msgspec.json.decode(path.read_bytes(), type=Coverage)
