"""Either version of HTTP on either side: the application hears what its client said, and the client what the application answered."""

from dataclasses import replace
from itertools import product

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.helpers.exchange import Downstream, Server, downstream
from tests.helpers.speakers import VERSIONS, Message, Speaker, converse
from tests.helpers.streams import MemoryStream

BIG = bytes(range(256)) * 1200
SUM = [(b"x-sum", b"1")]
REQUESTS = {
    "GET": Message(b"GET", is_end=True),
    "HEAD": Message(b"HEAD", is_end=True),
    "no body": Message(b"POST", length=0),
    "a length": Message(b"POST", b"hello", 5),
    "no length": Message(b"POST", b"hello"),
    "no length, no body": Message(b"POST", b""),
    "trailers": Message(b"POST", b"hello", trailers=SUM),
    "only trailers": Message(b"POST", b"", trailers=SUM),
    "a big length": Message(b"PUT", BIG, len(BIG)),
    "big": Message(b"PUT", BIG, trailers=SUM),
}
RESPONSES = {
    "a length": Message(b"200", b"ok", 2),
    "no length": Message(b"200", b"ok"),
    "no body": Message(b"200", b"", 0),
    "no length, no body": Message(b"200", b""),
    "204": Message(b"204", is_end=True),
    "304": Message(b"304", length=7, is_end=True),
    "trailers": Message(b"200", b"ok", trailers=SUM),
    "only trailers": Message(b"200", b"", trailers=SUM),
    "a big length": Message(b"200", BIG, len(BIG)),
    "big": Message(b"200", BIG, trailers=SUM),
    "an error": Message(b"404", b"no such", 7),
}
TO_HEAD = {"a length": Message(b"200", length=2, is_end=True), "an error": Message(b"404", length=7, is_end=True),
           "no length": Message(b"200", is_end=True)}
SIDES = [pytest.param(*sides, id=f"{sides[0]}-{sides[1]}") for sides in product(VERSIONS, VERSIONS)]


class Chain:
    """
    Args:
        sides: versions that the client and the application speak.
    """

    def __init__(self, nursery: trio.Nursery, *sides: str) -> None:
        self.sides = sides
        self.down: Downstream = downstream(nursery, server=Server(is_http2=sides[1] == "h2"))
        self.client: Speaker = VERSIONS[sides[0]](self.down.client, is_client=True)

    async def app(self) -> Speaker:
        made: Speaker = VERSIONS[self.sides[1]](await self.down.server.accept(), is_client=False)
        await made.begin()
        return made

    async def exchange(self, request: Message, response: Message) -> tuple[Message, Message]:
        """What the application heard, and what the client."""
        heard: list[Message] = []
        answered: list[Message] = []

        async def ask() -> None:
            await self.client.begin()
            await self.client.say(request)
            answered.append(await self.client.hear())

        async def answer() -> None:
            app = await self.app()
            heard.append(await app.hear())
            await app.say(response)

        await converse(ask, answer)
        return heard[0], answered[0]


@pytest.mark.parametrize(("client", "app"), SIDES)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=list(REQUESTS))
async def test_what_the_client_says_is_heard(
    client: str, app: str, request_: Message, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain = Chain(nursery, client, app)
    heard, _ = await chain.exchange(request_, Message(b"204", is_end=True))
    assert heard.heard == request_.heard
    await wait_all_tasks_blocked()
    (line,) = chain.down.bench.lines
    assert (line.get("received", 0), line["status"], line.get("code", "")) == (len(request_.body), 204, "")


@pytest.mark.parametrize(("client", "app"), SIDES)
@pytest.mark.parametrize(("request_", "response"), [
    *(pytest.param(REQUESTS["GET"], response, id=f"GET-{name}") for name, response in RESPONSES.items()),
    *(pytest.param(REQUESTS["no length"], response, id=f"POST-{name}") for name, response in RESPONSES.items()),
    *(pytest.param(REQUESTS["HEAD"], response, id=f"HEAD-{name}") for name, response in TO_HEAD.items()),
])
async def test_what_the_application_says_is_heard(
    client: str, app: str, request_: Message, response: Message, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain = Chain(nursery, client, app)
    _, answered = await chain.exchange(request_, response)
    assert answered.heard == response.heard
    await wait_all_tasks_blocked()
    (line,) = chain.down.bench.lines
    assert (line.get("sent", 0), line.get("code", "")) == (len(response.body), "")


@pytest.mark.parametrize(("client", "app"), SIDES)
async def test_who_waits_for_leave_to_send_its_body_gets_it(
    client: str, app: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain = Chain(nursery, client, app)
    request = Message(b"POST", b"hello", 5, fields=[(b"expect", b"100-continue")])
    told: list[bytes] = []

    async def ask() -> None:
        await chain.client.begin()
        await chain.client.say_head(request)
        told.append((await chain.client.hear()).start)
        await chain.client.say_body(request)
        told.append((await chain.client.hear()).start)

    async def answer() -> None:
        speaker = await chain.app()
        await speaker.hear_head()
        await wait_all_tasks_blocked()
        assert told == []
        await speaker.say(Message(b"100", is_end=True))
        heard = await speaker.hear()
        assert (heard.body, dict(heard.fields)[b"expect"]) == (b"hello", b"100-continue")
        await speaker.say(Message(b"200", b"ok", 2))

    await converse(ask, answer)
    assert told == [b"100", b"200"]


@pytest.mark.parametrize(("client", "app"), SIDES)
async def test_early_hints_come_early(client: str, app: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery, client, app)
    await chain.client.begin()
    await chain.client.say(REQUESTS["GET"])
    speaker = await chain.app()
    await speaker.hear()
    await speaker.say(Message(b"103", fields=[(b"link", b"</a.css>")], is_end=True))
    hint = await chain.client.hear()
    assert (hint.start, dict(hint.fields)[b"link"]) == (b"103", b"</a.css>")
    await speaker.say(Message(b"200", b"ok", 2))
    assert (await chain.client.hear()).heard == (b"200", b"ok", 2, [])


# -- a reader that stands still

HELD_BYTES = 262144
ENDLESS = Message(b"200", b"x" * 4_000_000, 4_000_000)


def held(came: MemoryStream, went: MemoryStream) -> int:
    """Bytes that are neither on the way in any more nor on the way out already; `came` and `went` are the proxy's ends."""
    return came.taken - went.sent


@pytest.mark.parametrize(("client", "app"), SIDES)
async def test_a_client_that_does_not_read(client: str, app: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What it does not take stays with the application, which is held back; once it reads again it gets all."""
    chain = Chain(nursery, client, app)
    await chain.client.begin()
    await chain.client.say(REQUESTS["GET"])
    speaker = await chain.app()
    await speaker.hear()
    async with trio.open_nursery() as sending:
        sending.start_soon(speaker.say, ENDLESS)
        await wait_all_tasks_blocked()
        assert held(chain.down.server.made[0], chain.down.ours) <= HELD_BYTES
        assert (await chain.client.hear()).heard == ENDLESS.heard
    assert trio.current_time() == 0


@pytest.mark.parametrize(("client", "app"), SIDES)
async def test_an_application_that_does_not_read(client: str, app: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery, client, app)
    upload = replace(ENDLESS, start=b"PUT")
    async with trio.open_nursery() as sending:
        await chain.client.begin()
        sending.start_soon(chain.client.say, upload)
        speaker = await chain.app()
        await speaker.hear_head()
        await wait_all_tasks_blocked()
        assert held(chain.down.ours, chain.down.server.made[0]) <= HELD_BYTES
        assert (await speaker.hear()).heard == upload.heard
    assert trio.current_time() == 0
