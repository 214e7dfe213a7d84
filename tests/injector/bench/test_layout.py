from pathlib import Path

from injector.bench.layout import ADDRESS, GATEWAY, ORIGIN, Job
from tests.injector.bench.support import place


def test_the_last_route_is_asked_for_and_all_are_alike() -> None:
    job = Job("http1", routes=10_000)
    assert job.path == "/r/009999/item"
    assert len(set(job.prefixes)) == 10_000
    assert len({len(prefix) for prefix in job.prefixes}) == 1
    assert Job("http1").path == "/"


def test_pods_and_kinds_are_told_apart() -> None:
    assert len({*ADDRESS.values(), *GATEWAY.values()}) == 4
    assert len({ORIGIN["http1"], ORIGIN["http2"], ORIGIN["tcp"]}) == 3


def test_files(tmp_path: Path) -> None:
    assert Path(place(tmp_path).write("a", "text")).read_bytes() == b"text"
    assert Path(place(tmp_path).write("a", b"bytes")).read_bytes() == b"bytes"


def test_the_last_host_is_asked_for_and_all_are_alike() -> None:
    assert Job("origination").names == ["h000000.bench.example"]
    names = Job("origination", hosts=10_000).names
    assert names[-1] == "h009999.bench.example"
    assert len(set(names)) == 10_000
    assert len({len(name) for name in names}) == 1
