from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from injector.demo.errors import DemoError
from injector.demo.probes import Tally, Timing, ask_tcp, asker, keep_asking, port_number, wait_started

TIMING = Timing(initial_delay_s=2, period_s=5, timeout_s=1, success_threshold=1, failure_threshold=3)


def answers(*given: bool | float) -> Callable[[], Awaitable[bool]]:
    """Answers in order, the last one for ever; a number is an answer that takes so many seconds."""
    left = list(given)

    async def ask() -> bool:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, bool):
            return answer
        await trio.sleep(answer)
        return True

    return ask


def test_the_defaults_are_the_apis() -> None:
    assert Timing.of({}) == Timing(0, 10, 1, 1, 3)


def test_thresholds_count_answers_in_a_row() -> None:
    tally = Tally(Timing(failure_threshold=2, success_threshold=2), verdict=False)
    seen = []
    for answer in (True, False, True, True, False, True, False, False):
        tally.record(answer)
        seen.append(tally.verdict)
    assert seen == [False, False, False, True, True, True, True, False]


async def test_readiness_changes_at_the_exact_time(autojump_clock: MockClock) -> None:
    changes: list[tuple[float, bool]] = []
    began = trio.current_time()
    with trio.move_on_after(60):
        await keep_asking(TIMING, answers(True, False, False, False, False, True), False,
                          lambda verdict: changes.append((trio.current_time() - began, verdict)))
    assert changes == [(2, True), (17, False), (27, True)]


async def test_an_answer_that_comes_too_late_is_a_failure(autojump_clock: MockClock) -> None:
    changes: list[tuple[float, bool]] = []
    began = trio.current_time()
    with trio.move_on_after(60):
        await keep_asking(TIMING, answers(1.5), True, lambda verdict: changes.append((trio.current_time() - began, verdict)))
    assert changes == [(13, False)]   # asked at 2, 7 and 12, each time given up after one second


async def test_a_startup_probe_ends_with_success_or_for_good(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert await wait_started(TIMING, answers(False, False, True))
    assert trio.current_time() - began == 12
    assert not await wait_started(TIMING, answers(False))
    assert trio.current_time() - began == 24


async def never(argv: list[str]) -> int:
    raise AssertionError(argv)


async def serve_once(answer: bytes, seen: list[bytes], task_status: trio.TaskStatus[int]) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        seen.append(await stream.receive_some(4096))
        await stream.send_all(answer)
        await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(handle, listeners)


async def asked(what: Callable[[int], dict[str, Any]], answer: bytes, *, is_hook: bool = False) -> tuple[bool, bytes]:
    """Whether it went well, and what was sent.

    Args:
        what: a probe or hook of a port.
    """
    seen: list[bytes] = []
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            port: int = await nursery.start(serve_once, answer, seen)
            container = {"name": "app", "ports": [{"name": "http", "containerPort": port}]}
            found = await asker(what(port), container, "127.0.0.1", never, is_hook=is_hook)()
            nursery.cancel_scope.cancel()
    return found, b"".join(seen)


@pytest.mark.parametrize(("answer", "is_success"), [
    (b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 302 Found\r\n\r\n", True), (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
    (b"HTTP/1.1 503 No\r\n\r\n", False), (b"", False), (b"SSH-2.0-x\r\n", False), (b"x" * 5000, False),
])
async def test_http_answers(answer: bytes, is_success: bool) -> None:
    headers = [{"name": "Host", "value": "shop"}, {"name": "X-A", "value": "1"}]
    found, sent = await asked(lambda port: {"httpGet": {"path": "/healthz", "port": "http", "httpHeaders": headers}}, answer)
    assert sent.startswith(b"GET /healthz HTTP/1.1\r\nhost: shop\r\nuser-agent: kube-probe/1.36\r\naccept: */*\r\nx-a: 1\r\n")
    assert found is is_success


@pytest.mark.parametrize(("answer", "is_success"), [
    (b"HTTP/1.1 200 OK\r\n\r\n", True), (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", True), (b"", False),
])
async def test_to_a_hook_any_answer_is_success(answer: bytes, is_success: bool) -> None:
    found, sent = await asked(lambda port: {"httpGet": {"path": "/quit", "port": port}}, answer, is_hook=True)
    assert b"user-agent: kube-lifecycle/1.36\r\n" in sent
    assert found is is_success


async def test_https_begins_with_a_hello_and_grpc_with_the_preface() -> None:
    found, sent = await asked(lambda port: {"httpGet": {"scheme": "HTTPS", "port": port}}, b"no TLS")
    assert (found, sent[:2]) == (False, b"\x16\x03")
    found, sent = await asked(lambda port: {"grpc": {"service": "shop.Orders", "port": port}}, b"no HTTP/2")
    assert (found, sent[:24]) == (False, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert b"shop.Orders" in sent


async def test_a_port_that_nobody_listens_on() -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert not await ask_tcp("127.0.0.1", port)
        assert not await asker({"httpGet": {"port": port}}, {"name": "app"}, "127.0.0.1", never)()


@pytest.mark.parametrize(("status", "is_success"), [(0, True), (1, False)])
@pytest.mark.parametrize("is_hook", [True, False])
async def test_exec_is_judged_by_its_status(status: int, is_success: bool, is_hook: bool) -> None:
    async def execute(argv: list[str]) -> int:
        assert argv == ["true"]
        return status

    assert await asker({"exec": {"command": ["true"]}}, {"name": "app"}, "10.0.0.1", execute, is_hook=is_hook)() is is_success


async def test_hooks_of_the_other_kinds(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert await asker({"sleep": {"seconds": 7}}, {"name": "app"}, "10.0.0.1", never, is_hook=True)()
    assert trio.current_time() - began == 7
    assert not await asker({"tcpSocket": {"port": 1}}, {"name": "app"}, "10.0.0.1", never, is_hook=True)()


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(DemoError, match="not \\['sleep'\\]"):
        asker({"sleep": {"seconds": 1}}, {"name": "app"}, "10.0.0.1", never)
    with pytest.raises(DemoError, match="no port is called 'web'"):
        port_number({"name": "app"}, "web")
