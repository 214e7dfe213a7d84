"""Clients of Python libraries; each prints one JSON value.

    httpx URL COUNT [h2]    COUNT requests at a time over one client: [[status, version, body]]
    aiohttp URL COUNT       the same
    urllib URL              one request, Connection: close
    websockets URL          text, a fragmented message, 1 MB of bytes, a ping, a close: what came of each; or the status that refused
"""

import asyncio
import json
import os
import sys
import urllib.request


async def use_httpx(url: str, count: str, version: str = "h1") -> object:
    import httpx

    async with httpx.AsyncClient(http1=version == "h1", http2=version == "h2", trust_env=False) as client:
        answers = await asyncio.gather(*(client.get(url) for _ in range(int(count))))
    return [[answer.status_code, answer.http_version, answer.text] for answer in answers]


async def use_aiohttp(url: str, count: str) -> object:
    import aiohttp

    async def get(session: aiohttp.ClientSession) -> list[object]:
        async with session.get(url) as answer:
            return [answer.status, f"HTTP/{answer.version.major}.{answer.version.minor}", await answer.text()]

    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(get(session) for _ in range(int(count))))


async def use_urllib(url: str, count: str = "1") -> object:
    found = []
    for _ in range(int(count)):
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
            found.append([answer.status, f"HTTP/{answer.version / 10}", answer.read().decode()])
    return found


async def use_websockets(url: str) -> object:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    try:
        async with connect(url, max_size=None, proxy=None) as connection:
            await connection.send("hello")
            text = await connection.recv()
            await connection.send(["in ", "three ", "pieces"])
            pieces = await connection.recv()
            data = os.urandom(1_000_000)
            await connection.send(data)
            same = await connection.recv() == data
            await (await connection.ping(b"ping"))
        return {"text": text, "pieces": pieces, "same": same, "code": connection.close_code}
    except InvalidStatus as exc:
        return {"status": exc.response.status_code, "reason": exc.response.headers.get("x-bartizan-reason")}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(globals()[f"use_{sys.argv[1]}"](*sys.argv[2:]))))
