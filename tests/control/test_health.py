"""Ready and not ready, in words; and the probes of the application that came with it."""

import socket

import pytest
import trio
from trio.testing import MockClock

from sidecar.control.health import Health, metrics_handler
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import Config, Probe, SnapshotFile
from sidecar.net.socket_stream import SocketStream
from sidecar.telemetry.metrics import Metrics
from tests.helpers.mesh import http_app
from tests.helpers.runtime import POD, FakeDialer

APP = Address(POD, 8080)
PROBES = {"/app-health/web/livez": Probe(8080, "/live?deep=1"), "/app-health/web/readyz": Probe(8080)}


def health(dialer: FakeDialer, obstacles: list[str] | None = None, address: str | None = POD) -> Health:
    config = Config("/run/admin.sock", SnapshotFile("snapshot.json"), probes=PROBES)
    return Health(config, lambda: obstacles or [], lambda: address, dialer)


async def get(health: Health, path: str) -> Answer:
    return await health.handle(Call("GET", path, "", {}, b""))


async def test_ready_and_not_ready_in_words(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    obstacles: list[str] = []
    asked = Health(Config("s", SnapshotFile("f")), lambda: obstacles, lambda: POD, FakeDialer(nursery))
    assert await get(asked, "/healthz/ready") == Answer(200, b"ready\n", "text/plain")
    obstacles += ["no snapshot yet", "packet rules: lost"]
    assert await get(asked, "/healthz/ready") == Answer(503, b"no snapshot yet; packet rules: lost\n", "text/plain")
    for path in ("/healthz/live", "/healthz/started"):
        assert (await get(asked, path)).status == 200       # alive all the same: a restart would help nobody


async def test_when_it_was_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """That it is asked proves the redirect of what enters; the outbound side rests on it."""
    asked = health(FakeDialer(nursery))
    for path, after_s in (("/healthz/ready", 3.0), ("/healthz/live", 6.0), ("/nonsense", 6.0)):
        await trio.sleep(3)
        await get(asked, path)
        assert asked.asked_at.current == after_s


@pytest.mark.parametrize("path", ["/", "/healthz", "/healthz/ready/", "/app-health/web", "/app-health/other/livez", "/metrics"])
async def test_nothing_else_is_answered(path: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    dialer = FakeDialer(nursery)
    assert (await get(health(dialer), path)).status == 404
    assert dialer.dialled == []


@pytest.mark.parametrize("status", [200, 204, 302, 404, 500])
async def test_a_probe_says_what_the_application_says(status: int, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    dialer, seen = FakeDialer(nursery), []
    length = "" if status == 204 else "content-length: 6\r\n"
    body = "" if status == 204 else "secret"
    dialer.servers[APP] = http_app(seen, f"HTTP/1.1 {status} x\r\n{length}\r\n{body}".encode())
    assert await get(health(dialer), "/app-health/web/livez") == Answer(status, b"", "text/plain")
    assert seen[0].startswith(b"GET /live?deep=1 HTTP/1.1\r\nhost: 10.1.0.5:8080\r\n")
    assert dialer.dialled == [APP]      # at the pod's address, as the kubelet would have


async def test_a_probe_that_only_connects(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    dialer = FakeDialer(nursery)
    assert (await get(health(dialer), "/app-health/web/readyz")).status == 503
    dialer.servers[APP] = http_app([], b"")
    assert (await get(health(dialer), "/app-health/web/readyz")).status == 200


async def test_a_probe_before_the_address_is_known(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    answer = await get(health(FakeDialer(nursery), address=None), "/app-health/web/livez")
    assert (answer.status, answer.body) == (503, b"the pod's address is not known yet\n")


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_application_that_answers_badly(said: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    dialer = FakeDialer(nursery)

    async def bad(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        await stream.receive_some()
        await stream.send_all(said)

    dialer.servers[APP] = bad
    answer = await get(health(dialer), "/app-health/web/livez")
    assert answer.status == 503
    assert answer.body.strip()


async def test_an_application_that_is_silent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    dialer = FakeDialer(nursery)

    async def silent(sock: socket.socket) -> None:
        await trio.sleep_forever()

    dialer.servers[APP] = silent
    assert (await get(health(dialer), "/app-health/web/livez")).status == 503
    assert trio.current_time() == 10


async def test_metrics(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    metrics = Metrics()
    metrics.count("bartizan_dns_queries_total", (("decision", "allowed"),))
    handle = metrics_handler(metrics, lambda: {"bartizan_ready": 1.0})
    answer = await handle(Call("GET", "/metrics", "", {}, b""))
    assert answer.status == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert b'bartizan_dns_queries_total{decision="allowed"} 1\n' in answer.body
    assert b"bartizan_ready 1\n" in answer.body
    assert (await handle(Call("GET", "/", "", {}, b""))).status == 404
