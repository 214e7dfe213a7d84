from pathlib import Path

import pytest

from injector.bench.facts import cpu_model, machine, two_cores, versions
from injector.bench.proxies import PROXIES


def test_the_model_of_the_processor() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t: fpu\n") == "AMD EPYC 7B13"
    assert cpu_model("processor : 0\n")


def test_every_version_has_its_place() -> None:
    found = versions()
    assert {proxy.name for proxy in PROXIES} | {"wrk", "h2load", "python", "trio", "msgspec"} <= set(found)
    assert found["python"]
    assert machine(False)["memory_mb"] > 100


@pytest.mark.parametrize(("siblings", "chosen"), [
    ("0", (0, 1, False)), ("0-1", (0, 2, False)), ("0,2", (0, 1, False)), ("0-3", (0, 1, True)), ("0,1-3", (0, 1, True)),
])
def test_two_threads_of_one_core_only_if_need_be(tmp_path: Path, siblings: str, chosen: tuple[int, int, bool]) -> None:
    folder = tmp_path / "cpu0" / "topology"
    folder.mkdir(parents=True)
    (folder / "thread_siblings_list").write_text(siblings + "\n")
    assert two_cores({2, 1, 0}, tmp_path) == chosen
    assert two_cores({5, 7}, tmp_path) == (5, 7, False)
