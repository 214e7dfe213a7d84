"""A gRPC client without generated code; prints one JSON value.  grpc_client.py TARGET CASE"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc

channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)])


def call(kind: str, name: str) -> Callable[..., object]:
    return getattr(channel, kind)(f"/foreign.Test/{name}")  # type: ignore[no-any-return]


def failure(exc: grpc.RpcError) -> dict[str, object]:
    return {"code": exc.code().name, "details": exc.details(),
            "metadata": {key: value for key, value in (*(exc.initial_metadata() or ()), *(exc.trailing_metadata() or ()))
                         if isinstance(value, str)}}


def attempt(name: str, **options: object) -> object:
    try:
        return call("unary_unary", name)(b"x", **options).decode()  # type: ignore[attr-defined]
    except grpc.RpcError as exc:
        return failure(exc)


def unary() -> object:
    return call("unary_unary", "Unary")(b"hello").decode()  # type: ignore[attr-defined]


def large() -> object:
    message = bytes(range(256)) * 16000     # 4,096,000: gRPC's own limit is 4 MiB
    return call("unary_unary", "Unary")(message) == message


def many() -> object:
    """Fifty calls at a time on one connection."""
    with futures.ThreadPoolExecutor(50) as pool:
        return sorted(pool.map(lambda i: int(call("unary_unary", "Unary")(str(i).encode())), range(50)))  # type: ignore[call-overload]


def download() -> object:
    sizes = [len(message) for message in call("unary_stream", "Download")(b"200 10000")]  # type: ignore[attr-defined]
    return [len(sizes), sum(sizes)]


def upload() -> object:
    return call("stream_unary", "Upload")(b"y" * 10000 for _ in range(200)).decode()  # type: ignore[attr-defined]


def chat() -> object:
    """Each message is sent only when the one before has come back."""
    came_back, back = threading.Semaphore(1), []

    def questions() -> Iterator[bytes]:
        for i in range(20):
            came_back.acquire()
            yield b"%d" % i

    for message in call("stream_stream", "Chat")(questions()):  # type: ignore[attr-defined]
        back.append(message.decode())
        came_back.release()
    return back


def deadline() -> object:
    return [attempt("Wait", timeout=0.5), attempt("Cancelled")]


def cancel() -> object:
    pending = channel.unary_unary("/foreign.Test/Wait").future(b"x")
    started = attempt("Unary")      # on the same connection, behind the one that waits
    pending.cancel()
    return [started, pending.code().name, attempt("Cancelled")]


def refuse() -> object:
    return attempt("Refuse")


def forbidden() -> object:
    return attempt("Forbidden")


def missing() -> object:
    return attempt("NoSuchMethod")


def metadata() -> object:
    answer, known = channel.unary_unary("/foreign.Test/Metadata").with_call(
        b"", metadata=(("x-said", "hello"), ("x-forwarded-client-cert", "URI=spiffe://example.org/ns/shop/sa/admin")))
    return {"received": json.loads(answer), "before": dict(known.initial_metadata())["x-before"],
            "behind": dict(known.trailing_metadata())["x-behind-bin"].hex()}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[2]]()))
