"""What we say to the Kubernetes API server, on our own HTTP and TLS: read, list, watch, create, patch, apply, delete.

Each call is a connection of its own, and reads CA and token anew: calls are rare (a watch is one, for minutes), and the kubelet
renews both files. Nothing is remembered from one answer to the next: what may be is for who asks to say.

Trust: the API server is verified (its CA, its name) before it is sent our token; what it answers is believed, and bounded.
Spec: Kubernetes API conventions (Status, resourceVersion, limit and continue, watch); RFC 6902, RFC 7396.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Annotated, Generic, TypeVar
from urllib.parse import quote

import msgspec
import trio

from sidecar.model.errors import BadResponse, ConfigError, MeshError
from sidecar.model.message import Headers, ResponseHead
from sidecar.model.value import Name, Value
from sidecar.net.dial import Dialer
from sidecar.net.files import read_file
from sidecar.net.http1_client import Http1Client
from sidecar.net.service import MAX_ANSWER_BYTES, control_addresses, exchange_with, read_whole, split_url
from sidecar.net.tls_context import https_client, load_certificates

T = TypeVar("T")

PATIENCE_S = 5.0
PAGE_PATIENCE = 6.0             # times as long, for a page of a collection
PAGE = 100
MAX_LINE_BYTES = 8 << 20        # one object is 3 MiB at most, as the API server is usually set up
FILES = "/var/run/secrets/kubernetes.io/serviceaccount"     # where the kubelet puts a pod's own

NO_ANSWER, FORBIDDEN, NOT_FOUND, CONFLICT, GONE = 0, 403, 404, 409, 410

JSON = b"application/json"
MERGE_PATCH = b"application/merge-patch+json"
APPLY_PATCH = b"application/apply-patch+yaml"       # of which JSON is a part


class ApiServer(Value, frozen=True):
    """Where the API server is, and who we are to it. The defaults are what a pod finds.

    Args:
        server: https://host[:port].
        ca_file, token_file: read again at each call.
    """

    server: Annotated[str, msgspec.Meta(pattern="^https://", max_length=253)] = "https://kubernetes.default.svc"
    ca_file: Name = f"{FILES}/ca.crt"
    token_file: Name = f"{FILES}/token"


class ApiError(MeshError):
    """The API server did not do it.

    Args:
        status: of its answer; NO_ANSWER if there was none, or none that can be understood.
        retry_after_s: how long it asks to be left alone.
    """

    def __init__(self, status: int, detail: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s


class TooLarge(ApiError):
    """An answer of more than MAX_ANSWER_BYTES."""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What all objects have."""

    name: str
    uid: str
    resource_version: str = ""


class _Status(msgspec.Struct, frozen=True):
    message: str = ""


class _Listed(msgspec.Struct, frozen=True, rename={"token": "continue", "version": "resourceVersion"}):
    token: str = ""
    version: str = ""


class _List(msgspec.Struct, Generic[T], frozen=True):
    metadata: _Listed
    items: list[T] | None       # null is what an API server says of no objects of which only metadata are asked


class LineSplitter:
    """Pieces of a text, cut anywhere, to lines of bounded length."""

    def __init__(self, most: int = MAX_LINE_BYTES) -> None:
        self._most = most
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`, without their ends. BadResponse if one is too long."""
        first, *rest = data.split(b"\n")
        self._begun += first
        if len(self._begun) > self._most:
            raise BadResponse(f"a line of more than {self._most:,} bytes")
        if not rest:
            return []
        lines = [bytes(self._begun), *rest[:-1]]
        self._begun = bytearray(rest[-1])
        return lines


class Lines:
    """The lines of an answer, as they come.

    Args:
        patient: for each wait.
    """

    def __init__(self, connection: Http1Client, patient: Callable[[], AbstractContextManager[None]]) -> None:
        self._connection = connection
        self._patient = patient
        self._splitter = LineSplitter()

    async def next(self) -> list[bytes]:
        """Those that came together; none: the server ended the answer, and what is no whole line counts for nothing. Raises ApiError if
        the answer was cut, or is silent for too long.
        """
        while True:
            with self._patient():
                piece = await self._connection.read_body()
                lines = [line for line in self._splitter.feed(piece) if line]
            if lines or not piece:
                return lines


class Api:
    """Paths begin with /api; an answer is read as the `kind` of struct that the caller names, further fields are left alone."""

    def __init__(self, config: ApiServer, *, patience_s: float = PATIENCE_S) -> None:
        self._config = config
        self._patience_s = patience_s
        self._dialer = Dialer()
        try:
            split_url(config.server)
        except ValueError as exc:
            raise ConfigError("server", str(exc)) from exc

    async def get(self, path: str, kind: type[T]) -> T:
        """Raises: ApiError, of status NOT_FOUND if there is no such object."""
        return await self._call("GET", path, None, kind)

    async def create(self, path: str, body: object, kind: type[T]) -> T:
        """Raises: ApiError, of status CONFLICT if there is one of that name."""
        return await self._call("POST", path, body, kind)

    async def patch(self, path: str, body: object, kind: type[T]) -> T:
        """A merge patch (RFC 7396). With `metadata.resourceVersion` in it: only if that is still the object's.

        Raises:
            ApiError: of status CONFLICT if somebody else changed the object first.
        """
        return await self._call("PATCH", path, body, kind, content=MERGE_PATCH)

    async def apply(self, path: str, body: object, kind: type[T], *, manager: str, force: bool = True) -> T:
        """Server-side apply: the object is made, or has these fields from now on; others stay whoever's they are.

        Args:
            manager: whose these fields are from now on.
            force: also where they were another's.

        Raises:
            ApiError: without `force`, of status CONFLICT if another's field has another value.
        """
        query = f"fieldManager={quote(manager)}&force={str(force).lower()}"
        return await self._call("PATCH", f"{path}?{query}", body, kind, content=APPLY_PATCH)

    async def delete(self, path: str, *, version: str = "") -> None:
        """An object that is gone already is no error.

        Args:
            version: only if this resourceVersion is still the object's.
        """
        options = {"kind": "DeleteOptions", "apiVersion": "v1", **({"preconditions": {"resourceVersion": version}} if version else {})}
        try:
            await self._call("DELETE", path, options, dict)
        except ApiError as exc:
            if exc.status != NOT_FOUND:
                raise

    async def page(self, path: str, query: str, kind: type[T], token: str) -> tuple[list[T], str]:
        """Some objects of a collection, so that no number of them is too large an answer.

        Args:
            token: what came with the page before; empty for the first.

        Returns:
            The objects, and the token for the next page; empty: there is none.
        """
        page = await self._page(path, query, kind, token, PAGE, JSON)
        return page.items or [], page.metadata.token

    async def pages(self, path: str, query: str, *, accept: bytes = JSON) -> AsyncIterator[tuple[list[msgspec.Raw], str]]:
        """A whole collection as it was at one moment, page by page: (objects, resourceVersion of that moment).

        Raises:
            ApiError: of status GONE if the moment was too long ago before the last page came; then begin anew.
        """
        token, limit = "", PAGE
        while True:
            try:
                page = await self._page(path, query, msgspec.Raw, token, limit, accept)
            except TooLarge:
                if limit == 1:
                    raise
                limit = max(1, limit // 8)      # objects of a size that whoever may create them chose
                continue
            yield page.items or [], page.metadata.version
            token = page.metadata.token
            if not token:
                return

    @asynccontextmanager
    async def watch(self, path: str, *, silence_s: float, accept: bytes = JSON) -> AsyncIterator[Lines]:
        """What happens from now on, an event a line, until the server ends it. Raises ApiError if it does not begin.

        Args:
            silence_s: without a byte for so long it counts as cut.
        """
        async with AsyncExitStack() as stack:
            with self._patient(f"GET {path}", self._patience_s):
                response, connection = await stack.enter_async_context(self._exchange("GET", path, accept=accept))
                if response.status != 200:
                    raise _refused("GET", path, response, await read_whole(connection, MAX_ANSWER_BYTES) or b"")
            yield Lines(connection, partial(self._patient, f"GET {path}", silence_s))

    async def _page(self, path: str, query: str, kind: type[T], token: str, limit: int, accept: bytes) -> _List[T]:
        path = f"{path}?{query}{'&' if query else ''}limit={limit}&continue={quote(token)}"
        return await self._call("GET", path, None, _List[kind], accept=accept, patience=PAGE_PATIENCE)  # type: ignore[valid-type]

    async def _call(
        self, method: str, path: str, body: object, kind: type[T], *, content: bytes = JSON, accept: bytes = JSON, patience: float = 1.0,
    ) -> T:
        data = b"" if body is None else msgspec.json.encode(body)
        with self._patient(f"{method} {path}", patience * self._patience_s):
            async with self._exchange(method, path, data, content=content, accept=accept) as (response, connection):
                text = await read_whole(connection, MAX_ANSWER_BYTES)
        if text is None:
            raise TooLarge(NO_ANSWER, f"the API server's answer to {method} {path} has more than {MAX_ANSWER_BYTES:,} bytes")
        if not 200 <= response.status < 300:
            raise _refused(method, path, response, text)
        try:
            return msgspec.json.decode(text, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise ApiError(NO_ANSWER, f"the API server's answer to {method} {path} is not understood: {exc}") from exc

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, body: bytes = b"", *, content: bytes = JSON, accept: bytes = JSON,
    ) -> AsyncIterator[tuple[ResponseHead, Http1Client]]:
        config = self._config
        url = config.server.rstrip("/") + path
        token = read_file(config.token_file, "tokenFile").strip()
        context = https_client(load_certificates(read_file(config.ca_file, "caFile"), config.ca_file))
        headers: Headers = [(b"authorization", b"Bearer " + token), (b"accept", accept), (b"content-type", content)]
        addresses = await control_addresses(url)
        async with exchange_with(context, self._dialer, addresses, url, method, headers=headers, body=body) as answer:
            yield answer

    @contextmanager
    def _patient(self, what: str, patience_s: float) -> Iterator[None]:
        """A deadline, and what goes wrong below as an ApiError."""
        try:
            with trio.fail_after(patience_s):
                yield
        except trio.TooSlowError as exc:
            raise ApiError(NO_ANSWER, f"the API server {self._config.server} does not answer within {patience_s:g} s: {what}") from exc
        except ApiError:
            raise
        except MeshError as exc:
            raise ApiError(NO_ANSWER, f"the API server {self._config.server} cannot be asked, {what}: {exc}") from exc


def _refused(method: str, path: str, response: ResponseHead, body: bytes) -> ApiError:
    """With what its Status says, or the beginning of whatever it is instead."""
    try:
        text = msgspec.json.decode(body, type=_Status).message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace")
    wait = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    retry_after_s = float(wait) if wait.isdigit() and len(wait) < 6 else 0.0
    why = f"the API server refuses {method} {path}: {response.status} {text[:500]}"
    return ApiError(response.status, why, retry_after_s=retry_after_s)
