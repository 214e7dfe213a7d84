from pathlib import Path

import pytest

from injector.bench.layout import ADDRESS, GATEWAY, ORIGIN, OUTSIDE, SERVICE, Job, Kind
from tests.injector.bench.support import place


def test_the_last_route_is_asked_for_and_all_are_alike() -> None:
    job = Job("http1", routes=10_000)
    assert job.path == "/r/009999/item"
    assert len(set(job.prefixes)) == 10_000
    assert len({len(prefix) for prefix in job.prefixes}) == 1
    assert Job("http1").path == "/"


def test_pods_and_kinds_are_told_apart() -> None:
    assert len({*ADDRESS.values(), *GATEWAY.values()}) == 6
    assert len({ORIGIN["http1"], ORIGIN["http2"], ORIGIN["tcp"]}) == 3


@pytest.mark.parametrize(("kind", "pod", "port", "asked"), [
    ("http1", "mesh", 15006, (ADDRESS["mesh"], 8080)), ("http1-mtls", "mesh", 15006, (ADDRESS["mesh"], 8080)),
    ("http2", "mesh", 15006, (ADDRESS["mesh"], 8082)), ("tcp", "mesh", 15006, (ADDRESS["mesh"], 8081)),
    ("tcp-mtls", "mesh", 15006, (ADDRESS["mesh"], 8081)), ("call", "client", 15001, (SERVICE, 80)),
    ("origination", "mesh", 15001, (OUTSIDE, 80)), ("gateway", "plain", 9000, (ADDRESS["plain"], 9000)),
])
def test_every_proxy_is_asked_at_the_applications_address_and_listens_where_the_rules_lead(
    kind: Kind, pod: str, port: int, asked: tuple[str, int]
) -> None:
    job = Job(kind)
    assert (job.pod, job.listen, job.asked_at) == (pod, port, asked)


def test_files(tmp_path: Path) -> None:
    assert Path(place(tmp_path).write("a", "text")).read_bytes() == b"text"
    assert Path(place(tmp_path).write("a", b"bytes")).read_bytes() == b"bytes"


def test_the_last_host_is_asked_for_and_all_are_alike() -> None:
    assert Job("origination").names == ["h000000.bench.example"]
    names = Job("origination", hosts=10_000).names
    assert names[-1] == "h009999.bench.example"
    assert len(set(names)) == 10_000
    assert len({len(name) for name in names}) == 1
