"""A gRPC server without generated code: messages are bytes.  grpc_server.py PORT NAME

    Unary      the message back            Download  as many messages of that size as `COUNT SIZE` says
    Refuse     FAILED_PRECONDITION         Upload    how many messages and bytes arrived
    Wait       until it is cancelled       Chat      each message back as it comes
    Cancelled  how many waits were         Metadata  what was received, as JSON; and metadata before and behind the answer
    and grpc.health.v1.Health/Check
"""

import json
import sys
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc

cancelled = threading.Semaphore(0)


def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
    return request


def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: 100 % übel")


def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
    ended = threading.Event()
    if context.add_callback(ended.set):
        ended.wait()
    cancelled.release()
    return b""


def was_cancelled(request: bytes, context: grpc.ServicerContext) -> bytes:
    return str(cancelled.acquire(timeout=10)).encode()


def download(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    count, size = map(int, request.split())
    for _ in range(count):
        yield b"x" * size


def upload(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    sizes = [len(request) for request in requests]
    return f"{len(sizes)} {sum(sizes)}".encode()


def chat(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    for request in requests:
        yield request + b" from " + sys.argv[2].encode()


def metadata(request: bytes, context: grpc.ServicerContext) -> bytes:
    context.send_initial_metadata((("x-before", "1"),))
    context.set_trailing_metadata((("x-behind-bin", b"\x00\xff"),))
    return json.dumps([[key, value] for key, value in context.invocation_metadata() if isinstance(value, str)]).encode()


def health(request: bytes, context: grpc.ServicerContext) -> bytes:
    """grpc.health.v1: the name of a service, as protobuf has it, and a state."""
    service = request[2:].decode()
    if service == "foreign.Unknown":
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    if service == "foreign.Hanging":
        wait(request, context)
    return b"\x08\x02" if service == "foreign.Ill" else b"\x08\x01"


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary), "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Wait": grpc.unary_unary_rpc_method_handler(wait), "Cancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
    "Metadata": grpc.unary_unary_rpc_method_handler(metadata), "Forbidden": grpc.unary_unary_rpc_method_handler(unary),
    "Download": grpc.unary_stream_rpc_method_handler(download), "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}

if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(80))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("foreign.Test", HANDLERS),))
    checks = {"Check": grpc.unary_unary_rpc_method_handler(health)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", checks),))
    server.add_insecure_port(f"0.0.0.0:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()
