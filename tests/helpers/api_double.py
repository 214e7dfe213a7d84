"""A small API server over real TLS, for what a real one cannot be made to do at will: objects in memory, each change with a version, lists
in pages, watches; and on demand it refuses, forgets versions, says what it should not, or goes away in the middle of a word.

What the two have in common is tried against a real one by tests/e2e/kubernetes.
"""

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trio

from certs.kubernetes import ApiServer
from sidecar.model.errors import DownstreamGone, TlsRejected
from sidecar.net.http1_server import Http1Server
from sidecar.net.listener import Tally, listen_tcp, serve_listener
from sidecar.net.tls_context import https_server
from sidecar.net.tls_stream import TlsStream
from tests.certs.api_server import merged
from tests.helpers import pki

Object = dict[str, Any]
CA = pki.authority("kubernetes")
SERVING = pki.issue(CA, pki.host("127.0.0.1"))
TOKEN = "the injector's own token"
WORDS = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 410: "Gone", 429: "Slow down"}


@dataclass
class Asked:
    """
    Args:
        path: of the collection or object, without the query.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    connection: Http1Server

    @property
    def is_watch(self) -> bool:
        return "watch" in self.query

    async def refuse(self, status: int, message: str = "", *headers: str) -> None:
        text = json.dumps({"kind": "Status", "status": "Failure", "message": message or WORDS.get(status, ""), "code": status})
        await self.answer(status, text.encode(), *headers)

    async def answer(self, status: int, text: bytes, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} {WORDS.get(status, 'OK')}", f"content-length: {len(text)}", "content-type: application/json", *headers]
        await self.connection.send("\r\n".join([*lines, "", ""]).encode() + text)

    async def begin_stream(self) -> None:
        await self.connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n")

    async def say(self, data: bytes | Object) -> None:
        """An event, or just these bytes."""
        text = data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n"
        await self.connection.send(b"%x\r\n%s\r\n" % (len(text), text))

    async def end_stream(self) -> None:
        await self.connection.send(b"0\r\n\r\n")


Hook = Callable[[Asked], Awaitable[bool]]


@dataclass
class ApiDouble:
    """
    Attributes:
        objects: by collection path, then (namespace, name); a collection that is not here does not exist (404).
        oldest: watches from before it are told that it is gone.
        before: asked about each call first; whether it has answered.
        asked: all that came.
    """

    objects: dict[str, dict[tuple[str, str], Object]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    before: Hook | None = None
    oldest: int = 0
    version: int = 100
    token: str = TOKEN
    _log: list[tuple[int, str, str, Object]] = field(default_factory=list)
    _moved: trio.Event = field(default_factory=trio.Event)
    _ending: trio.Event = field(default_factory=trio.Event)

    def put(self, path: str, made: Object) -> Object:
        metadata = made.setdefault("metadata", {})
        key = (metadata.get("namespace", ""), metadata["name"])
        there = self.objects.setdefault(path, {})
        self._happened(path, "MODIFIED" if key in there else "ADDED", made)
        there[key] = made
        return made

    def drop(self, path: str, namespace: str, name: str) -> None:
        self._happened(path, "DELETED", self.objects[path].pop((namespace, name)))

    def forget(self) -> None:
        """Nobody can watch from an earlier version than this any more."""
        self.version += 1
        self.oldest = self.version

    def end_watches(self) -> None:
        """As their time would."""
        self._ending.set()
        self._ending = trio.Event()

    def watches(self, path: str) -> int:
        return sum(one.is_watch and one.path == path for one in self.asked)

    def _happened(self, path: str, what: str, made: Object) -> None:
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        self._log.append((self.version, path, what, json.loads(json.dumps(made))))
        self._moved.set()
        self._moved = trio.Event()

    async def serve(self, asked: Asked) -> None:
        self.asked.append(asked)
        if self.before is not None and await self.before(asked):
            return
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            await asked.refuse(401)
        elif asked.path in self.objects and asked.method == "GET":
            await (self._watch(asked) if asked.is_watch else self._list(asked))
        else:
            await self._object(asked)

    async def _list(self, asked: Asked) -> None:
        names = sorted(key for key, one in self.objects[asked.path].items() if self._is_meant(asked, one))
        start = int(asked.query.get("continue") or 0)
        end = start + int(asked.query["limit"])
        items = [self.objects[asked.path][name] for name in names[start:end]]
        metadata = {"resourceVersion": str(self.version), **({"continue": str(end)} if end < len(names) else {})}
        await asked.answer(200, json.dumps({"kind": "List", "metadata": metadata, "items": items or None}).encode())

    async def _watch(self, asked: Asked) -> None:
        at = int(asked.query["resourceVersion"])
        await asked.begin_stream()
        if at < self.oldest:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old resource version: {at} ({self.oldest})"}
            await asked.say({"type": "ERROR", "object": status})
            await asked.end_stream()
            return
        ending = self._ending
        while not ending.is_set():
            moved = self._moved
            for version, path, what, made in self._log:
                if version > at and path == asked.path and self._is_meant(asked, made):
                    await asked.say({"type": what, "object": made})
                    at = version
            async with trio.open_nursery() as either:
                for event in (moved, ending):
                    either.start_soon(_then_cancel, event, either.cancel_scope)
        await asked.end_stream()

    def _is_meant(self, asked: Asked, made: Object) -> bool:
        wanted = asked.query.get("fieldSelector", "").removeprefix("metadata.name=")
        return not wanted or made["metadata"]["name"] == wanted

    async def _object(self, asked: Asked) -> None:
        """One object: POST to its collection, else at its own path."""
        if asked.method == "POST":
            name = asked.body["metadata"].setdefault("name", f"{asked.body['metadata'].get('generateName', '')}x{self.version}")
            if name in {key[1] for key in self.objects.get(asked.path, {})}:
                await asked.refuse(409, f'"{name}" already exists')
                return
            await asked.answer(201, json.dumps(self.put(asked.path, asked.body)).encode())
            return
        path, _, name = asked.path.rpartition("/")
        found = next((one for key, one in self.objects.get(path, {}).items() if key[1] == name), None)
        if found is None:
            await asked.refuse(404, f'"{name}" not found')
            return
        if asked.method == "PATCH":
            current = found["metadata"]["resourceVersion"]
            if asked.body.get("metadata", {}).get("resourceVersion", current) != current:
                await asked.refuse(409, "the object has been modified")
                return
            found = self.put(path, merged(found, asked.body))
        elif asked.method == "DELETE":
            self.drop(path, found["metadata"].get("namespace", ""), name)
        await asked.answer(200, json.dumps(found).encode())


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


@asynccontextmanager
async def api_double(folder: Path, double: ApiDouble | None = None) -> AsyncIterator[tuple[ApiDouble, ApiServer]]:
    """One that serves, and where it is."""
    double = double or ApiDouble()
    (folder / "kube-ca.pem").write_text(CA.chain_pem)
    (folder / "kube-token").write_text(TOKEN + "\n")
    tally = Tally()
    context = https_server(pki.server_credentials(SERVING))

    async def connection(sock: socket.socket) -> None:
        stream = TlsStream(context, sock, is_server=True)
        try:
            await stream.handshake(TlsRejected)
            served = Http1Server(stream)
            if (request := await served.read_request()) is None:
                return
            body = bytearray()
            while piece := await served.read_body():
                body += piece
            url = urlsplit(request.target.decode())
            headers = {name.decode().lower(): value.decode() for name, value in request.headers}
            asked = Asked(
                request.method.decode(), url.path, dict(parse_qsl(url.query)), headers, json.loads(body) if body else None, served)
            await double.serve(asked)
        except (DownstreamGone, TlsRejected):
            pass    # tests cut connections
        finally:
            stream.close()

    listener = listen_tcp("127.0.0.1", 0)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_listener, listener, connection, tally)
            port = listener.getsockname()[1]
            yield double, ApiServer(f"https://127.0.0.1:{port}", str(folder / "kube-ca.pem"), str(folder / "kube-token"))
            nursery.cancel_scope.cancel()
    assert tally.bugs == 0
