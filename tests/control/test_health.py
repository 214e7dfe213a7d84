"""Ready and not ready, in words; and the probes of the application that came with it."""

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from sidecar.control.health import Health, metrics_handler
from sidecar.model.address import Address
from sidecar.model.call import Answer, Call
from sidecar.model.config import HOOK_HEADER, Config, Probe, SnapshotFile
from sidecar.model.errors import ConnectFailed, TimedOut
from sidecar.net.socket_stream import SocketStream
from sidecar.telemetry.metrics import Metrics
from tests.helpers.mesh import http_app
from tests.helpers.runtime import POD, FakeDialer

APP = Address(POD, 8080)
WORD = "0123456789abcdef" * 2
PROBES = {
    "/app-health/web/livez": Probe(8080, "http", "/live?deep=1", timeout_s=2.5),
    "/app-health/web/readyz": Probe(8080),
    "/app-health/web/startupz": Probe(8080, "grpc"),
    "/app-health/web/prestop": Probe(8080, "http", "/quit", timeout_s=90, word=WORD),
}
HOOK = {HOOK_HEADER: WORD}


async def at_once() -> str:
    return POD


def health(dialer: FakeDialer, obstacles: list[str] | None = None, address: Callable[[], Awaitable[str]] = at_once) -> Health:
    config = Config("/run/admin.sock", SnapshotFile("snapshot.json"), probes=PROBES)
    return Health(config, lambda: obstacles or [], address, dialer)


async def get(health: Health, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
    return await health.handle(Call(method, path, "", headers or {}, b""))


async def test_ready_and_not_ready_in_words(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    obstacles: list[str] = []
    asked = Health(Config("s", SnapshotFile("f")), lambda: obstacles, at_once, FakeDialer(nursery))
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


async def test_a_probe_waits_for_the_address_as_long_as_it_may(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def late() -> str:
        await trio.sleep(wait_s)
        return POD

    dialer = FakeDialer(nursery)
    dialer.servers[APP] = http_app([], b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n")
    wait_s = 2.0
    assert (await get(health(dialer, address=late), "/app-health/web/livez")).status == 200
    wait_s = 3.0
    answer = await get(health(dialer, address=late), "/app-health/web/livez")
    assert answer.status == 503
    assert b"waiting for the pod's address" in answer.body
    assert trio.current_time() == 4.5


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


@pytest.mark.parametrize(("path", "headers", "after_s"), [
    ("/app-health/web/livez", {}, 2.5), ("/app-health/web/startupz", {}, 1), ("/app-health/web/prestop", HOOK, 90),
])
async def test_an_application_that_hangs_fails_within_the_probes_own_time(
    path: str, headers: dict[str, str], after_s: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    dialer = FakeDialer(nursery)

    async def silent(sock: socket.socket) -> None:
        await trio.sleep_forever()

    dialer.servers[APP] = silent
    try:
        answer = await get(health(dialer), path, headers)
        assert (answer.status, answer.body) == (503, b"timed out waiting for the application\n")
    except TimedOut:
        assert headers     # a hook
    assert trio.current_time() == after_s


async def test_an_address_where_nothing_answers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    dialer = FakeDialer(nursery)
    dialer.silent.add(APP)
    assert (await get(health(dialer), "/app-health/web/readyz")).status == 503
    assert trio.current_time() == 1


async def test_who_asks_meanwhile_gets_the_same_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """However many ask, the application is asked one question at a time by each of its probes."""
    dialer = FakeDialer(nursery)
    answers: list[int] = []

    async def slow(sock: socket.socket) -> None:
        stream = SocketStream(sock)
        await stream.receive_some()
        await trio.sleep(1)
        await stream.send_all(b"HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n")

    dialer.servers[APP] = slow
    asked = health(dialer)

    async def ask() -> None:
        answers.append((await get(asked, "/app-health/web/livez")).status)

    for turn in (1, 2):
        async with trio.open_nursery() as many:
            for _ in range(50):
                many.start_soon(ask)
        assert (answers, len(dialer.dialled)) == ([404] * 50 * turn, turn)


async def test_who_waits_is_told_if_it_was_given_up(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    dialer = FakeDialer(nursery)
    dialer.silent.add(APP)
    asked, answers = health(dialer), []

    async def ask() -> None:
        answers.append(await get(asked, "/app-health/web/livez"))

    async with trio.open_nursery() as first:
        first.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        first.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [Answer(503, b"the probe was given up\n", "text/plain")]
    assert (await get(asked, "/app-health/web/livez")).status == 503        # asked anew


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
async def test_nothing_of_the_callers_request_reaches_the_application(
    method: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    dialer, seen = FakeDialer(nursery), []
    dialer.servers[APP] = http_app(seen, b"HTTP/1.1 200 x\r\nx-secret: 1\r\ncontent-length: 6\r\n\r\nsecret")
    asked = health(dialer)
    call = Call("GET", "/app-health/web/livez", "path=/other", {"host": "evil", "x-evil": "evil", "cookie": "evil"}, b"evil")
    assert await asked.handle(call) == Answer(200, b"", "text/plain")
    assert [b"evil" in head or b"other" in head for head in seen] == [False]
    assert (await get(asked, "/app-health/web/livez", method=method)).status == 404
    assert len(dialer.dialled) == 1


@pytest.mark.parametrize("headers", [{}, {HOOK_HEADER: ""}, {HOOK_HEADER: WORD[:-1]}, {HOOK_HEADER: f"{WORD}, {WORD}"}, {HOOK_HEADER: "ü"}])
async def test_a_hook_is_carried_out_for_nobody_who_does_not_know_its_word(
    headers: dict[str, str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Else anybody in the network could end the application."""
    dialer = FakeDialer(nursery)
    assert await get(health(dialer), "/app-health/web/prestop", headers) == await get(health(dialer), "/app-health/web/none")
    assert dialer.dialled == []


@pytest.mark.parametrize("obstacles", [[], ["draining"]])
async def test_a_hook(obstacles: list[str], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While we drain, too; whatever the status is, to the kubelet it is done."""
    dialer, seen = FakeDialer(nursery), []
    dialer.servers[APP] = http_app(seen, b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n")
    assert (await get(health(dialer, obstacles), "/app-health/web/prestop", HOOK)).status == 500
    assert seen[0].startswith(b"GET /quit HTTP/1.1\r\nhost: 10.1.0.5:8080\r\nuser-agent: kube-lifecycle/1.36\r\n")
    assert WORD.encode() not in seen[0]


async def test_a_hook_that_fails_is_not_answered(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """For any answer is a success to the kubelet."""
    with pytest.raises(ConnectFailed):
        await get(health(FakeDialer(nursery)), "/app-health/web/prestop", HOOK)


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
