"""Servers of Python libraries.

    aiohttp PORT     the contract of README.md, without trailers and `/close`
    uvicorn PORT     `/hello` as an ASGI application
    http10 PORT      the standard library's, which speaks HTTP/1.0
    websockets PORT  echoes each message
"""

import asyncio
import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = bytes(i % 251 for i in range(65536))


def serve_aiohttp(port: int) -> None:
    from aiohttp import web

    released = asyncio.Semaphore(0)

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello from aiohttp\n", headers={"x-spoken": f"HTTP/{request.version.major}.{request.version.minor}"})

    async def headers(request: web.Request) -> web.Response:
        return web.Response(text=json.dumps({"headers": dict(request.headers)}))

    async def send_bytes(request: web.Request) -> web.StreamResponse:
        left = int(request.query["n"])
        response = web.StreamResponse()
        if request.query.get("framing") != "chunked":
            response.content_length = left
        await response.prepare(request)
        while left > 0:
            await response.write(BLOCK[:left])
            left -= len(BLOCK)
        return response

    async def sum_up(request: web.Request) -> web.Response:
        digest, count = hashlib.sha256(), 0
        async for piece in request.content.iter_any():
            digest.update(piece)
            count += len(piece)
        return web.Response(text=f"{count} {digest.hexdigest()} \n")

    async def echo(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    async def status(request: web.Request) -> web.Response:
        return web.Response(status=int(request.query["code"]), headers={"etag": '"7"'})

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await released.acquire()
        await response.write(b"data: second\n\n")
        return response

    async def release(request: web.Request) -> web.Response:
        released.release()
        return web.Response()

    app = web.Application(client_max_size=1 << 30)
    for path, handler in (("/hello", hello), ("/headers", headers), ("/bytes", send_bytes), ("/sum", sum_up), ("/echo", echo),
                          ("/status", status), ("/events", events), ("/release", release)):
        app.router.add_route("*", path, handler)
    web.run_app(app, port=port, print=None)


def serve_uvicorn(port: int) -> None:
    import uvicorn

    async def app(scope: dict, receive: object, send: object) -> None:  # type: ignore[type-arg]
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200,  # type: ignore[operator]
                        "headers": [(b"x-spoken", b"HTTP/" + scope["http_version"].encode())]})
            await send({"type": "http.response.body", "body": b"hello from uvicorn\n"})  # type: ignore[operator]

    uvicorn.run(app, host="0.0.0.0", port=port, lifespan="off", log_level="warning")


def serve_http10(port: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("x-spoken", self.request_version)
            self.end_headers()      # no length: the body ends with the connection
            self.wfile.write(b"hello from http10\n")

    ThreadingHTTPServer(("", port), Handler).serve_forever()


def serve_websockets(port: int) -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def run() -> None:
        async with serve(echo, "0.0.0.0", port, max_size=None) as server:
            await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    globals()[f"serve_{sys.argv[1]}"](int(sys.argv[2]))
