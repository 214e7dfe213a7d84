import json
from pathlib import Path

import pytest

from injector.bench.bartizan import bartizan_config, bartizan_snapshot
from injector.bench.layout import CLIENT, SERVER, Job, Kind
from sidecar.model import identity
from sidecar.model.config import parse_config
from sidecar.model.decision import Denied, Permit
from sidecar.model.message import NO_BODY, RequestHead
from sidecar.model.snapshot import parse_snapshot
from sidecar.policy.authorize import Asker, authorize, find_route
from sidecar.policy.egress import ToHost
from sidecar.policy.route_table import Found
from sidecar.policy.rules import Rules
from tests.injector.bench.support import place

NOW = 1_700_000_000.0


def judged(job: Job, folder: Path, peer: str | None, path: str) -> Permit | Denied:
    rules = Rules.of(parse_snapshot(bartizan_snapshot(job, place(folder))), "")
    request = RequestHead(b"GET", path.encode(), b"h", None, [], NO_BODY, False, False, False)
    found = find_route(8080, request, is_plaintext=peer is None, inbound=rules.snapshot.inbound, table=rules.routes, now=NOW)
    if not isinstance(found, Found):
        return found
    return authorize(found, Asker(identity.parse(peer) if peer else None, "10.9.2.1", None), rules.trust_domain)


@pytest.mark.parametrize("routes", [0, 10])
def test_what_is_asked_is_let_in(tmp_path: Path, routes: int) -> None:
    mtls, plain = Job("http1-mtls", routes), Job("http1", routes)
    assert isinstance(judged(mtls, tmp_path, CLIENT, mtls.path), Permit)
    assert isinstance(judged(mtls, tmp_path, None, mtls.path), Denied)
    assert judged(plain, tmp_path, None, plain.path) == Permit(f"r{routes - 1}" if routes else "all")


def test_only_bulk_is_opaque(tmp_path: Path) -> None:
    """A port of HTTP that were opaque would pass HTTP/2 through unread, and the figure would be none."""
    ports = parse_snapshot(bartizan_snapshot(Job("http2"), place(tmp_path))).inbound.ports
    assert ports == {8080: "http", 8082: "http", 8081: "opaque"}


@pytest.mark.parametrize("kind", ["http1", "http1-mtls", "http2", "tcp", "tcp-mtls", "call"])
def test_everything_is_on(tmp_path: Path, kind: Kind) -> None:
    config = parse_config(bartizan_config(Job(kind), place(tmp_path), "s.json").encode())
    assert config.access_log == "json"
    assert config.interception.check_every_s
    assert json.loads(bartizan_snapshot(Job(kind), place(tmp_path)))["workload"]["namespace"] == "bench"


@pytest.mark.parametrize("kind", ["http1-mtls", "tcp-mtls"])
def test_with_mtls_nothing_else_is_let_in(tmp_path: Path, kind: Kind) -> None:
    assert parse_snapshot(bartizan_snapshot(Job(kind), place(tmp_path))).inbound.mode == "strict"


def test_a_call_goes_to_the_pod_that_proves_who_it_is(tmp_path: Path) -> None:
    job = Job("call")
    snapshot = parse_snapshot(bartizan_snapshot(job, place(tmp_path)))
    assert snapshot.workload.identity == CLIENT
    (service,) = snapshot.outbound.services
    assert (service.addresses, service.port) == ((job.asked_at[0],), job.asked_at[1])
    assert [(one.address, one.port, one.identity) for one in service.endpoints] == [(*Job("http1-mtls").asked_at, SERVER)]


def test_every_host_is_approved_by_a_rule_of_its_own_and_verified(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text("the roots")
    job = Job("origination", hosts=10)
    table = Rules.of(parse_snapshot(bartizan_snapshot(job, place(tmp_path))), "").outbound
    found = [table.host(name, 80, "plain", NOW) for name in job.names]
    assert len({one.permit for one in found if isinstance(one, ToHost)}) == 10
    assert {one.approval.tls and one.approval.tls.roots for one in found if isinstance(one, ToHost)} == {"the roots"}
    assert isinstance(table.host("other.bench.example", 80, "plain", NOW), Denied)
