"""What every recipe shares: what is told is counted, and credentials end in time."""

import pytest
import trio
from trio.testing import MockClock

from sidecar.model.errors import Unavailable
from sidecar.model.reason import Reason
from sidecar.telemetry.access_log import Record
from tests.helpers.mesh import meshed
from tests.helpers.runtime import NOW, bench


async def test_what_is_told_is_written_and_counted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = bench(nursery)
    request = Record(NOW, "inbound", method="GET", status=403, rule="near", security="mtls", path="/secret/path")
    request.refuse(Reason.NOT_ALLOWED)
    for record in (request, request, Record(NOW, "outbound", security="passthrough", rule="far")):
        known.runtime.tell(record)
    assert [line["direction"] for line in known.lines] == ["inbound", "inbound", "outbound"]
    text = known.runtime.metrics.render({})
    assert 'bartizan_requests_total{code="BZ0102",direction="inbound",rule="near",security="mtls",status="403"} 2\n' in text
    assert 'bartizan_connections_total{code="",direction="outbound",rule="far",security="passthrough"} 1\n' in text
    assert "secret" not in text     # paths would be labels of a peer's making


async def test_a_refusal_is_written_at_once_and_takes_along_what_waits(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = bench(nursery)
    written = known.lines
    refused = Record(NOW, "inbound", method="GET", status=403)
    refused.refuse(Reason.NOT_ALLOWED)
    known.runtime.tell(Record(NOW, "inbound", method="GET", status=200))
    assert written == []
    known.runtime.tell(refused)
    assert [line["status"] for line in written] == [200, 403]


async def test_credentials_that_have_ended_are_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    known = meshed(nursery)
    assert known.runtime.valid_tls() is known.runtime.own_tls() is known.runtime.tls.current
    known.wall = known.runtime.tls.current.credentials.not_after    # type: ignore[union-attr]
    assert known.runtime.valid_tls() is None
    with pytest.raises(Unavailable):
        known.runtime.own_tls()
    known.runtime.tls.set(None)
    assert known.runtime.valid_tls() is None
