"""The few words that the issuer speaks to the Kubernetes API server: get, create, patch.

Each call is a connection of its own, and reads CA and token anew: calls are rare, and the kubelet renews both files. Nothing is
remembered from one answer to the next, since what may be remembered of a pod ends with its deletion.

Trust: the API server is verified (its CA, its name) before it is sent our token; what it answers is believed.
Spec: Kubernetes API conventions (Status, resourceVersion); RFC 7396.
"""

from typing import Annotated, Generic, TypeVar
from urllib.parse import quote

import msgspec
import trio

from sidecar.model.call import Answer
from sidecar.model.errors import ConfigError, MeshError
from sidecar.model.message import Headers
from sidecar.model.value import Name, Value
from sidecar.net.dial import Dialer
from sidecar.net.files import read_file
from sidecar.net.service import call_with, control_addresses, split_url
from sidecar.net.tls_context import https_client, load_certificates

T = TypeVar("T")

PATIENCE_S = 5.0
PAGE = 100
FILES = "/var/run/secrets/kubernetes.io/serviceaccount"     # where the kubelet puts a pod's own

NO_ANSWER, NOT_FOUND, CONFLICT = 0, 404, 409


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
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What all objects have."""

    name: str
    uid: str
    resource_version: str = ""


class _Status(msgspec.Struct, frozen=True):
    message: str = ""


class _Listed(msgspec.Struct, frozen=True, rename={"token": "continue"}):
    token: str = ""


class _List(msgspec.Struct, Generic[T], frozen=True):
    metadata: _Listed
    items: list[T]


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
        return await self._call("POST", path, body, kind)

    async def patch(self, path: str, body: object, kind: type[T]) -> T:
        """A merge patch (RFC 7396). With `metadata.resourceVersion` in it: only if that is still the object's.

        Raises:
            ApiError: of status CONFLICT if somebody else changed the object first.
        """
        return await self._call("PATCH", path, body, kind)

    async def page(self, path: str, query: str, kind: type[T], token: str) -> tuple[list[T], str]:
        """Some objects of a collection, so that no number of them is too large an answer.

        Args:
            token: what came with the page before; empty for the first.

        Returns:
            The objects, and the token for the next page; empty: there is none.
        """
        page = await self.get(f"{path}?{query}&limit={PAGE}&continue={quote(token)}", _List[kind])  # type: ignore[valid-type]
        return page.items, page.metadata.token

    async def _call(self, method: str, path: str, body: object, kind: type[T]) -> T:
        answer = await self._ask(method, path, b"" if body is None else msgspec.json.encode(body))
        if not 200 <= answer.status < 300:
            raise ApiError(answer.status, f"the API server refuses {method} {path}: {answer.status} {_message(answer.body)}")
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise ApiError(NO_ANSWER, f"the API server's answer to {method} {path} is not understood: {exc}") from exc

    async def _ask(self, method: str, path: str, body: bytes) -> Answer:
        config = self._config
        url = config.server.rstrip("/") + path
        kind = b"application/merge-patch+json" if method == "PATCH" else b"application/json"
        try:
            token = read_file(config.token_file, "tokenFile").strip()
            context = https_client(load_certificates(read_file(config.ca_file, "caFile"), config.ca_file))
            headers: Headers = [(b"authorization", b"Bearer " + token), (b"accept", b"application/json"), (b"content-type", kind)]
            with trio.fail_after(self._patience_s):
                return await call_with(context, self._dialer, await control_addresses(url), url, method, headers=headers, body=body)
        except trio.TooSlowError as exc:
            raise ApiError(NO_ANSWER, f"the API server {config.server} does not answer within {self._patience_s:g} s") from exc
        except MeshError as exc:
            raise ApiError(NO_ANSWER, f"the API server {config.server} cannot be asked: {exc}") from exc


def _message(body: bytes) -> str:
    """What its Status says, or the beginning of whatever it is instead."""
    try:
        text = msgspec.json.decode(body, type=_Status).message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace")
    return text[:500]
