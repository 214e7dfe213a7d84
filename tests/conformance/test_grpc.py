"""gRPC through the loop: what its callers and servers count on, with the library h2 at both ends, under the virtual clock."""

from collections.abc import Awaitable, Callable
from functools import partial

import h2.errors
import h2.events
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.decision import Denied
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.proxy.plan import Decision
from sidecar.telemetry.access_log import Record
from tests.helpers.exchange import Downstream, Server, downstream
from tests.helpers.h2_peer import Peer
from tests.helpers.http2 import OK, POST

Fields = list[tuple[bytes, bytes]]
GRPC: Fields = [*POST, (b"content-type", b"application/grpc"), (b"te", b"trailers")]
HEAD: Fields = [*OK, (b"content-type", b"application/grpc")]
FINE: Fields = [(b"grpc-status", b"0"), (b"grpc-message", b"")]


def message(text: bytes) -> bytes:
    return b"\0" + len(text).to_bytes(4, "big") + text


class Call:
    """One call; `app` is its server, once it was asked."""

    def __init__(self, down: Downstream) -> None:
        self.down = down
        self.client = Peer(down.client, is_client=True)
        self.app: Peer

    async def begin(self, *fields: tuple[bytes, bytes], body: bytes | None = None, is_end: bool = False) -> None:
        await self.client.begin()
        await self.client.ask(1, [*GRPC, *fields], body, is_end=is_end)

    async def arrive(self) -> dict[bytes, bytes]:
        """What the server is asked."""
        self.app = Peer(await self.down.server.accept(), is_client=False)
        await self.app.begin()
        return dict((await self.app.first(h2.events.RequestReceived)).headers)      # type: ignore[arg-type]

    async def say(self, fields: Fields, *, is_end: bool = False) -> None:
        """The server: a head, or trailers."""
        self.app.h2.send_headers(1, fields, end_stream=is_end)
        await self.app.flush()

    async def send(self, peer: Peer, text: bytes, *, is_end: bool = False) -> None:
        """A message, which may need several frames."""
        data = message(text)
        for at in range(0, len(data), 10_000):
            peer.h2.send_data(1, data[at:at + 10_000], end_stream=is_end and at + 10_000 >= len(data))
        await peer.flush()

    async def status(self) -> dict[bytes, bytes]:
        """A head that is all there is."""
        await self.client.first(h2.events.StreamEnded)
        assert self.client.body(1) == b""
        assert self.client.of(h2.events.TrailersReceived) == []
        return dict((await self.client.first(h2.events.ResponseReceived)).headers)  # type: ignore[arg-type]

    async def reset_code(self, peer: Peer) -> int:
        return (await peer.first(h2.events.StreamReset)).error_code


def planned(server: Server, **terms: object) -> Callable[[RequestHead, Record], Awaitable[Decision]]:
    async def decide(request: RequestHead, record: Record) -> Decision:
        return replace(server.plan(), **terms)      # type: ignore[arg-type]

    return decide


def call(nursery: trio.Nursery, **terms: object) -> Call:
    """
    Args:
        terms: of the plan.
    """
    server = Server(is_http2=True)
    return Call(downstream(nursery, server=server, decide=planned(server, **terms) if terms else None))


# -- answers


async def test_an_error_that_is_only_trailers_passes(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery)
    await made.begin(body=message(b"a"), is_end=True)
    await made.arrive()
    await made.say([*HEAD, (b"grpc-status", b"5"), (b"grpc-message", b"no%20such")], is_end=True)
    told = await made.status()
    assert (told[b"grpc-status"], told[b"grpc-message"]) == (b"5", b"no%20such")


@pytest.mark.parametrize("answers", [[], [b"one"], [b"one", b"", b"x" * 40000]])
async def test_messages_and_trailers_pass(answers: list[bytes], nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery)
    await made.begin((b"x-meta-bin", b"AAE="), body=message(b"a"), is_end=True)
    asked = await made.arrive()
    assert (asked[b"te"], asked[b"content-type"], asked[b"x-meta-bin"]) == (b"trailers", b"application/grpc", b"AAE=")
    assert await made.app.ended(1) == message(b"a")
    await made.say(HEAD)
    for text in answers:
        await made.send(made.app, text)
    await made.say([*FINE, (b"x-end-bin", b"AAE=")], is_end=True)
    assert await made.client.ended(1) == b"".join(map(message, answers))
    (trailers,) = made.client.of(h2.events.TrailersReceived)
    assert dict(trailers.headers) == dict([*FINE, (b"x-end-bin", b"AAE=")])     # type: ignore[arg-type]


async def test_both_speak_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Head and messages of the answer come while the request has no end; the caller ends, and the server still speaks."""
    made = call(nursery)
    await made.begin()
    await made.arrive()
    await made.say(HEAD)
    await made.client.first(h2.events.ResponseReceived)
    told = b""

    def is_told(peer: Peer) -> bool:
        return peer.body(1) == told

    for text in (b"one", b"two", b"three"):
        told += message(text)
        for peer, other in ((made.client, made.app), (made.app, made.client)):
            await made.send(peer, text)
            await other.until(partial(is_told, other))
    made.client.h2.end_stream(1)
    await made.client.flush()
    await made.app.first(h2.events.StreamEnded)
    await made.send(made.app, b"last")
    await made.say(FINE, is_end=True)
    assert await made.client.ended(1) == told + message(b"last")
    assert trio.current_time() == 0


async def test_an_answer_may_end_before_the_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery)
    await made.begin(body=message(b"a"))
    await made.arrive()
    await made.say([*HEAD, (b"grpc-status", b"8")], is_end=True)
    assert (await made.status())[b"grpc-status"] == b"8"
    assert await made.reset_code(made.client) == h2.errors.ErrorCodes.NO_ERROR      # send no more
    assert await made.reset_code(made.app) == h2.errors.ErrorCodes.CANCEL


# -- cancellation


@pytest.mark.parametrize("is_answered", [False, True])
async def test_who_cancels_cancels_the_work(is_answered: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery)
    await made.begin(body=message(b"a"))
    await made.arrive()
    if is_answered:
        await made.say(HEAD)
        await made.client.first(h2.events.ResponseReceived)
    made.client.h2.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    await made.client.flush()
    assert await made.reset_code(made.app) == h2.errors.ErrorCodes.CANCEL
    assert trio.current_time() == 0


@pytest.mark.parametrize("is_answered", [False, True])
async def test_what_the_server_gives_up(is_answered: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery)
    await made.begin(body=message(b"a"))
    await made.arrive()
    if is_answered:
        await made.say(HEAD)
        await made.send(made.app, b"half")
        await made.client.until(lambda: bool(made.client.body(1)))
    made.app.h2.reset_stream(1, h2.errors.ErrorCodes.INTERNAL_ERROR)
    await made.app.flush()
    if is_answered:
        assert await made.reset_code(made.client) == h2.errors.ErrorCodes.INTERNAL_ERROR
        assert made.client.of(h2.events.StreamEnded) == []
    else:
        assert (await made.status())[b"grpc-status"] == b"14"
    await wait_all_tasks_blocked()
    assert made.down.bench.codes == [Reason.RESET.code]


# -- deadlines


@pytest.mark.parametrize(("said", "rule_s", "after_s"), [
    (b"250m", None, 0.25), (b"2S", 10.0, 2), (b"10S", 2.0, 2), (b"5M", None, 300), (b"0n", None, 0), (b"never", 7.0, 7),
])
async def test_a_deadline_is_passed_on_and_kept(
    said: bytes, rule_s: float | None, after_s: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Of the caller's and the rule's the earlier one; longer than we would wait without."""
    made = call(nursery, request_s=rule_s)
    await made.begin((b"grpc-timeout", said), body=message(b"a"), is_end=True)
    if after_s:
        assert (await made.arrive())[b"grpc-timeout"] == said
    told = await made.status()
    assert trio.current_time() == pytest.approx(after_s)
    assert (told[b":status"], told[b"grpc-status"]) == (b"200", b"4")
    assert told[b"x-bartizan-reason"].decode() == f"{Reason.TIMED_OUT.code} {Reason.TIMED_OUT.token}"
    if after_s:
        assert await made.reset_code(made.app) == h2.errors.ErrorCodes.CANCEL
    await wait_all_tasks_blocked()
    assert made.down.bench.codes == [Reason.TIMED_OUT.code]


async def test_a_deadline_counts_while_messages_flow(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery)
    await made.begin((b"grpc-timeout", b"10S"))
    await made.arrive()
    await made.say(HEAD)
    async with trio.open_nursery() as talking:

        async def talk() -> None:
            while True:
                await made.send(made.app, b"still here")
                await trio.sleep(1)

        talking.start_soon(talk)
        assert await made.reset_code(made.client) == h2.errors.ErrorCodes.INTERNAL_ERROR
        talking.cancel_scope.cancel()
    assert trio.current_time() == 10
    assert await made.reset_code(made.app) == h2.errors.ErrorCodes.CANCEL


async def test_an_injected_delay_takes_of_the_deadline(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery, delay_s=5.0)
    await made.begin((b"grpc-timeout", b"2S"), body=message(b"a"), is_end=True)
    assert (await made.status())[b"grpc-status"] == b"4"
    assert trio.current_time() == 2


async def test_who_does_not_speak_grpc_has_no_such_deadline(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery)
    await made.client.begin()
    await made.client.ask(1, [*POST, (b"grpc-timeout", b"1S")])
    await made.arrive()
    await trio.sleep(2)
    await made.say(OK, is_end=True)
    assert (await made.status())[b":status"] == b"200"


# -- refusals


@pytest.mark.parametrize("is_end", [True, False])
async def test_a_refusal_comes_at_once(is_end: bool, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Also to a caller that goes on to speak and would wait for an answer first."""
    made = Call(downstream(nursery, decide=Denied(Reason.NO_ROUTE, "nearest")))
    await made.begin(body=message(b"a"), is_end=is_end)
    told = await made.status()
    assert (told[b"grpc-status"], told[b"x-bartizan-rule"]) == (b"7", b"nearest")
    assert trio.current_time() == 0
    if not is_end:
        assert await made.reset_code(made.client) == h2.errors.ErrorCodes.NO_ERROR


async def test_a_server_that_ends_its_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    made = call(nursery)
    await made.begin(body=message(b"a"), is_end=True)
    await made.arrive()
    await made.app.stream.aclose()
    assert (await made.status())[b"grpc-status"] == b"14"
