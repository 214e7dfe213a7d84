"""HTTP/2 that goes on as HTTP/1.1, to an upstream that does what it likes: whatever comes of it comes of it on both ways.

Seen are both ends, what was told of it, what was observed, given back and counted, and whom the next client is answered by.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.errors import NotVerified, TlsRejected
from sidecar.model.message import RequestHead
from sidecar.model.service import Retries
from sidecar.net.ends import Connection
from sidecar.net.http1_client import Http1Client
from sidecar.net.socket_stream import SocketStream
from sidecar.net.tls_stream import TlsStream
from sidecar.protocol.http2.frames import Code
from sidecar.proxy.edge import HURRIED
from sidecar.proxy.plan import PATIENT, Decision, Patience
from sidecar.telemetry.access_log import Record
from tests.helpers import pki
from tests.helpers.exchange import Downstream, Server, downstream
from tests.helpers.http2 import GET, POST
from tests.helpers.runtime import bench, rules, socket_pair
from tests.helpers.streams import MemoryStream
from tests.helpers.tls import CLIENT, ROOT, tls_pair
from tests.helpers.tls13 import ALERT, DATA, HANDSHAKE, KEY_UPDATE, Sealer, Secrets, message
from tests.proxy.http2_prompt.support import Fields
from tests.proxy.test_http2 import GRPC, Client

HEAD: Fields = [(b":method", b"HEAD"), *GET[1:]]
OK = b"HTTP/1.1 200 OK\r\n"
POISON = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"

HOLDER = pki.issue(ROOT, pki.uri(pki.ORDERS))

Step = bytes | float | str      # is sent, is waited for, or `end`, `reset`, `client-resets`, `client-goes`


class Case(NamedTuple):
    """
    Args:
        steps: of the upstream's, once it has read the request.
        is_early: it has read a byte of the request only, which is longer than what there is room for.
        window: of the client's, for the answer.
    """

    steps: tuple[Step, ...]
    ask: Fields = GET
    body: bytes | None = None
    is_early: bool = False
    window: int = 65535
    retries: Retries | None = None
    request_s: float | None = None
    idle_s: float | None = None
    patience: Patience = PATIENT


class TlsServer(Server):
    """By TLS 1.3 over sockets."""

    async def connect(self) -> Connection:
        context = pki.mesh_server(HOLDER, ROOT)
        secrets = Secrets(context)
        ours, theirs = tls_pair(CLIENT, context, sockets=socket_pair())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.handshake, NotVerified)
            nursery.start_soon(theirs.handshake, TlsRejected)
        self.made.append(ours)      # type: ignore[arg-type]
        sealer = Sealer(bytes.fromhex(secrets.lines[b"SERVER_TRAFFIC_SECRET_0"].decode()), number=2)     # after OpenSSL's two tickets
        await self._give.send(Sealed(theirs, sealer))       # type: ignore[arg-type]
        return Http1Client(ours)


@dataclass
class Sealed:
    """The server's end, which writes what records it likes; it does what a `MemoryStream` does."""

    stream: TlsStream
    sealer: Sealer

    async def read(self, count: int) -> bytes:
        piece = await self.stream.receive_some(1)
        assert piece, "the end"
        return piece

    async def read_until(self, end: bytes = b"\r\n\r\n") -> bytes:
        data = b""
        while not data.endswith(end):
            data += await self.read(1)
        return data

    async def read_rest(self) -> None:
        while await self.stream.receive_some():
            pass

    async def send_all(self, data: bytes) -> None:
        await self.write(self.sealer.seal(DATA, data))

    async def write(self, text: bytes) -> None:
        await SocketStream(self.stream.sock).send_all(text)

    async def send_eof(self) -> None:
        await self.write(self.sealer.seal(ALERT, b"\1\0"))
        self.stream.sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        self.stream.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.stream.close()


async def carried(case: Case, *, is_prompt: bool, is_tls: bool = False) -> tuple[Any, ...]:
    observed: list[bool] = []
    counts = {"left": 0, "entered": 0, "done": 0}
    asked: list[tuple[int, bytes]] = []
    answered = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        server = (TlsServer if is_tls else Server)(200 if case.is_early else 1 << 20)

        def decide(request: RequestHead, record: Record) -> Decision:
            def choose() -> Any:
                counts["entered"] += 1
                return replace(server.upstream(), observe=observed.append, leave=partial(count, "left"))

            return replace(
                server.plan(), choose=choose, retries=case.retries, request_s=case.request_s, idle_s=case.idle_s,
                done=partial(count, "done"), patience=case.patience,
            )

        def count(what: str) -> None:
            counts[what] += 1

        known = bench(nursery, rules(), is_prompt=is_prompt)
        down = downstream(nursery, decide=decide, server=server, room=1 << 20, known=known)
        client = Client(down)

        async def accept() -> None:
            while True:
                nursery.start_soon(serve, await server.accept(), len(server.made))

        async def serve(stream: MemoryStream, number: int) -> None:
            try:
                while True:
                    text = await stream.read(1)
                    if len(asked) == 1 and case.is_early:
                        asked.append((number, text))
                        await play(stream, case, client, down, answered)
                        await stream.read_rest()
                        return
                    text += await stream.read_until()
                    if b"chunked" in text:
                        text += await stream.read_until(b"0\r\n\r\n")
                    asked.append((number, text))
                    if len(asked) == 2:
                        await play(stream, case, client, down, answered)
                    else:
                        path = text.split(b" ")[1]
                        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))
            except (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                stream.close()

        nursery.start_soon(accept)
        assert await client.answer(await client.ask([*GET[:3], (b":path", b"/first")])) == b"/first"
        client.h2.update_settings({4: case.window})
        began = trio.current_time()
        sid = await client.ask(case.ask, case.body)
        with answered, suppress(trio.ClosedResourceError):
            await client.answer(sid)
        await wait_all_tasks_blocked()
        took = trio.current_time() - began
        if not (client.is_closed or client.goaways or down.client.is_closed):
            await client.answer(await client.ask([*GET[:3], (b":path", b"/last")]))
        await wait_all_tasks_blocked()
        other = Client(downstream(nursery, decide=decide, server=server, room=1 << 20, known=known))
        assert await other.answer(await other.ask([*GET[:3], (b":path", b"/other")])) == b"/other"
        await wait_all_tasks_blocked()
        lines = [{key: value for key, value in line.items() if key not in ("time", "duration_ms")} for line in known.lines]
        kept, opened = len(known.runtime.pool), dict(known.runtime.pool.opened)
        assert counts["left"] == counts["entered"]
        for end in server.made:
            end.close()
        nursery.cancel_scope.cancel()
    return (
        client.heads, dict(client.bodies), client.trailers, client.ended, client.resets, client.goaways, client.is_closed, took,
        asked, observed, counts, lines, kept, opened,
    )


async def play(stream: MemoryStream, case: Case, client: Client, down: Downstream, answered: trio.CancelScope) -> None:
    for step in case.steps:
        match step:
            case bytes():
                await stream.send_all(step)
                await wait_all_tasks_blocked()
            case float():
                await trio.sleep(step)
            case "tiny":        # the last of the answer comes in records of a byte, and the next one begins
                assert isinstance(stream, Sealed)
                await stream.write(b"".join(stream.sealer.seal(DATA, b"%c" % byte) for byte in LENGTH))
            case "keys" | "keys-for-ever":
                assert isinstance(stream, Sealed)
                for _ in range(1 if step == "keys" else 2000):
                    await stream.write(stream.sealer.seal(HANDSHAKE, message(KEY_UPDATE, b"\0")))
                    await wait_all_tasks_blocked()
            case "part":
                assert isinstance(stream, Sealed)
                record = stream.sealer.seal(DATA, LENGTH)
                for at in range(0, len(record), 7):
                    await stream.write(record[at:at + 7])
                    await wait_all_tasks_blocked()
            case "empty":
                assert isinstance(stream, Sealed)
                await stream.write(stream.sealer.seal(DATA, b""))
                await wait_all_tasks_blocked()
            case "junk":
                assert isinstance(stream, Sealed)
                await stream.write(b"\x17\x03\x03\0\x20" + b"j" * 32)
                await wait_all_tasks_blocked()
            case "alert":
                assert isinstance(stream, Sealed)
                await stream.write(stream.sealer.seal(ALERT, b"\2\x28"))
                await wait_all_tasks_blocked()
            case "end":
                await stream.send_eof()
            case "reset":
                stream.abort()
            case "client-resets":
                client.h2.reset_stream(3, Code.CANCEL)
                await client.send()
                answered.cancel()
                await wait_all_tasks_blocked()
            case "client-opens":
                with suppress(KeyError):       # it was reset
                    client.h2.increment_flow_control_window(1, 3)
                    await client.send()
                await wait_all_tasks_blocked()
            case "client-goes":
                answered.cancel()
                down.client.close()
                await wait_all_tasks_blocked()


LENGTH = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"
TRAILERS = OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\nset-cookie: a\r\ncontent-length: 3\r\n\r\n"
UNTIL_CLOSE = OK + b"x-a: 1\r\n\r\nhello"
ANSWERS = {
    "length": LENGTH, "none": OK + b"content-length: 0\r\n\r\n", "chunked": CHUNKED, "trailers": TRAILERS, "until-close": UNTIL_CLOSE,
    "until-close-10": b"HTTP/1.0 200 OK\r\n\r\nhello", "10-length": b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "last": OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
    "204": b"HTTP/1.1 204 No\r\n\r\n", "204-length": b"HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\nhello",
    "204-chunked": b"HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\n", "205": b"HTTP/1.1 205 R\r\ncontent-length: 5\r\n\r\nhello",
    "103": b"HTTP/1.1 103 Early\r\nlink: <a>\r\n\r\n" + LENGTH, "100": b"HTTP/1.1 100 C\r\n\r\n" + CHUNKED,
    "102s": b"HTTP/1.1 102 P\r\n\r\n" * 9 + LENGTH, "101": b"HTTP/1.1 101 S\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello",
    "101-h2c": b"HTTP/1.1 101 S\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nPRI * HTTP/2.0\r\n\r\n",
    "503": b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno", "500": b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno",
    "early": b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno",
    "two-lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "both": OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", "not-http": b"SSH-2.0-x\r\n\r\n",
    "fold": OK + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n", "split": OK + b"a: b\rset-cookie: c\r\ncontent-length: 0\r\n\r\n",
    "bad-chunk": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhellox\r\n",
    "bad-size": OK + b"transfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    "chunk-then-bad": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
    "hop": OK + b"connection: x-a\r\nx-a: 1\r\nkeep-alive: 5\r\nproxy-connection: a\r\nupgrade: h2c\r\nte: a\r\ncontent-length: 0\r\n\r\n",
    "ours": OK + b"x-bartizan-reason: BZ0101\r\ncontent-length: 0\r\n\r\n",
    "case": OK + b"X-Mixed-Case: A\r\nContent-Length: 5\r\n\r\nhello",
    "long-head": OK + b"a: " + b"x" * 66_000, "obs": OK + b"a: \xff\xfe\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("ask", [GET, HEAD, GRPC], ids=["GET", "HEAD", "gRPC"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_whatever_it_answers(answer: bytes, ask: Fields, autojump_clock: MockClock) -> None:
    """In one piece and in two, with more behind it and without, ended and reset."""
    body = b"m" if ask is GRPC else None
    end = answer.find(b"\r\n\r\n") + 4
    for more, cut, last in (
        (b"", 0, "end"), (b"", end - 2, "reset"), (b"", end, "end"), (b"", len(answer) - 1, "reset"), (POISON, 0, "end"),
        (POISON, len(answer) - 1, "end"), (POISON, len(answer), "reset"), (b"\r\n", end, "end"),
    ):
        text = answer + more
        await both(Case((*filter(None, (text[:cut], text[cut:])), last), ask, body))


async def both(case: Case, *, is_tls: bool = False) -> None:
    one = await carried(case, is_prompt=True, is_tls=is_tls)
    assert one == await carried(case, is_prompt=False, is_tls=is_tls), case


MOMENTS: dict[str, Case] = {
    "silence": Case((400.0,)),
    "silence-within-head": Case((b"HTTP/1.1 2", 400.0)),
    "silence-within-body": Case((LENGTH[:-2], 400.0)),
    "pauses": Case((LENGTH[:-3], 299.0, LENGTH[-3:-1], 299.0, LENGTH[-1:])),
    "idle-pause": Case((LENGTH[:-3], 9.0, LENGTH[-3:-1], 11.0, LENGTH[-1:]), idle_s=10.0),
    "request-time": Case((LENGTH[:-3], 4.0, LENGTH[-3:-1], 4.0, LENGTH[-1:]), request_s=7.0),
    "request-time-head": Case((8.0, LENGTH), request_s=7.0),
    "own-time": Case((8.0, LENGTH), [*GRPC, (b"grpc-timeout", b"3S")], b"m"),
    "interim-then-silence": Case((b"HTTP/1.1 103 E\r\n\r\n", 400.0)),
    "interim-then-late": Case((b"HTTP/1.1 103 E\r\n\r\n", 59.0, LENGTH)),
    "50-s-then-half": Case((50.0, b"HTTP/1.1 2", 20.0, LENGTH[10:])),
    "reset-at-once": Case(("reset",)), "end-at-once": Case(("end",)),
    "reset-at-once-post": Case(("reset",), POST, b"b"), "end-at-once-post": Case(("end",), POST, b"b"),
    "head-then-end": Case((LENGTH[:20], "end")),
    "retried": Case((ANSWERS["503"],), retries=Retries(attempts=2, on=("503",))),
    "retried-last": Case((ANSWERS["503"], "end"), retries=Retries(attempts=2, on=("503",))),
    "retried-half": Case((ANSWERS["503"][:-1],), retries=Retries(attempts=2, on=("503",))),
    "retried-reset": Case(("reset",), retries=Retries(attempts=2, on=("reset",))),
    "retried-within-time": Case((8.0, ANSWERS["503"]), retries=Retries(attempts=2, on=("503",)), request_s=9.0),
    "client-resets-before": Case(("client-resets", 1.0, LENGTH)),
    "client-resets-in-head": Case((LENGTH[:20], "client-resets", LENGTH[20:])),
    "client-resets-in-body": Case((LENGTH[:-2], "client-resets", LENGTH[-2:])),
    "client-resets-in-chunks": Case((CHUNKED[:-2], "client-resets", CHUNKED[-2:])),
    "client-resets-until-close": Case((UNTIL_CLOSE, "client-resets", b"more", "end")),
    "client-resets-with-a-body": Case(("client-resets", LENGTH), POST, b"b"),
    "client-goes-before": Case(("client-goes", 1.0, LENGTH)),
    "client-goes-in-body": Case((LENGTH[:-2], "client-goes", LENGTH[-2:])),
    "no-window": Case((LENGTH,), window=3),
    "no-window-at-all": Case((LENGTH,), window=0),
    "no-window-hurried": Case((LENGTH,), window=3, patience=HURRIED),
    "a-byte-a-minute": Case((LENGTH, 60.0, "client-opens", 60.0, "client-opens"), window=3, patience=HURRIED),
    "a-byte-in-time": Case((LENGTH, 14.0, "client-opens", 14.0, "client-opens"), window=3, patience=HURRIED),
    "a-byte-in-time-each": Case(
        (LENGTH[:-2], LENGTH[-2:-1], 14.0, "client-opens", LENGTH[-1:], 14.0, "client-opens"), window=3, patience=HURRIED,
    ),
    "a-byte-a-minute-until-close": Case((UNTIL_CLOSE, 60.0, "client-opens", "end"), window=3, patience=HURRIED),
    "early-hurried": Case((400.0,), POST, b"b" * 400, is_early=True, patience=HURRIED),
    "early": Case((LENGTH,), POST, b"b" * 400, is_early=True),
    "early-refusal": Case((ANSWERS["early"],), POST, b"b" * 400, is_early=True),
    "early-interim": Case((b"HTTP/1.1 100 C\r\n\r\n", LENGTH), POST, b"b" * 400, is_early=True),
    "early-last": Case((ANSWERS["last"], "end"), POST, b"b" * 400, is_early=True),
    "early-reset": Case((LENGTH, "reset"), POST, b"b" * 400, is_early=True),
    "early-silence": Case((400.0,), POST, b"b" * 400, is_early=True),
}


@pytest.mark.parametrize("case", MOMENTS.values(), ids=MOMENTS)
async def test_whenever_something_happens(case: Case, autojump_clock: MockClock) -> None:
    await both(case)


IN_TLS: dict[str, Case] = {
    "plain": Case((LENGTH,)), "tiny": Case(("tiny",)), "part": Case(("part",)), "empty": Case(("empty", LENGTH)),
    "long": Case((OK + b"content-length: 60000\r\n\r\n", *[b"x" * 15000] * 4)),
    "keys-before": Case(("keys", LENGTH)), "keys-within": Case((LENGTH[:-2], "keys", LENGTH[-2:])), "keys-behind": Case((LENGTH, "keys")),
    "keys-for-ever": Case(("keys-for-ever", LENGTH)), "keys-for-ever-within": Case((LENGTH[:-2], "keys-for-ever", LENGTH[-2:])),
    "until-close": Case((UNTIL_CLOSE, "end")), "until-close-cut": Case((UNTIL_CLOSE, "reset")),
    "cut-within-head": Case((LENGTH[:20], "reset")),
    "cut-at-once": Case(("reset",)), "end-at-once": Case(("end",)), "alert": Case(("alert",)), "alert-within": Case((LENGTH[:-2], "alert")),
    "alert-behind": Case((LENGTH, "alert")), "junk": Case(("junk",)), "junk-within": Case((UNTIL_CLOSE, "junk")),
    "junk-behind": Case((LENGTH, "junk")), "poison-behind": Case((LENGTH, POISON)), "poison-with": Case((LENGTH + POISON,)),
    "client-resets": Case((LENGTH[:-2], "client-resets", LENGTH[-2:])), "silence": Case(("keys", 400.0)),
}


@pytest.mark.parametrize("case", IN_TLS.values(), ids=IN_TLS)
async def test_whatever_records_it_writes(case: Case, autojump_clock: MockClock) -> None:
    await both(case, is_tls=True)
