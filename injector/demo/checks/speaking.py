"""What applications speak with each other through two sidecars, and what these do with it where a rule says so."""

import json
import time

import trio

from injector.demo.world import Object, World

from .check import Check, brief, expect, expect_refusal, expect_status
from .mesh import WEB, identities

ORDERS_URL = "http://orders"
LOGGED_WITHIN_S = 2.0
LOGGED_TOGETHER_S = 0.1


async def http2(world: World) -> str:
    """curl speaks HTTP/2 from its first byte; the port of orders is declared `http1`."""
    began = time.time()
    done = await world.run("web", "curl", "-sS", "--max-time", "5", "--http2-prior-knowledge",
                           "--write-out", "\n%{http_version} %{response_code}", f"{ORDERS_URL}/orders/2")
    expect(done.status == 0, f"curl ended with status {done.status}: {done.err.decode().strip()}")
    body, _, told = done.out.decode().rpartition("\n")
    expect(told == "2 200", f"curl was told (version, status) {told}: {body[:200]}")
    said = json.loads(body)
    expect(said["version"] == "HTTP/1.1", f"the application was asked in {said['version']}")
    expect(identities(body)[0].get("URI") == WEB, "the application was not told the caller's identity")
    request = {name.lower(): value for name, value in said["headers"]}.get("x-request-id")
    for pod in ("web", "orders"):
        logged = [(record["status"], record["security"]) for record in await _logged(world, pod, began, request_id=request)]
        expect(logged == [(200, "mtls")], f"the access log of {pod} says of request {request}: {logged}")
    return f"curl: 200 in HTTP/2; the application: {said['version']}; both access logs have request {request}"


async def _logged(world: World, pod: str, since: float, **fields: object) -> list[Object]:
    """The lines of a pod's access log that have these fields: all that are there a moment after the first."""
    found: list[Object] = []
    with trio.move_on_after(LOGGED_WITHIN_S):
        while not found:
            await trio.sleep(LOGGED_TOGETHER_S)
            found = [record for record in world.access_log(pod, since) if fields.items() <= record.items()]
    return found


async def chunked(world: World) -> str:
    """Trailer fields go on both ways to who takes them, but none that speaks of the caller."""
    head = ("POST /uploads/1 HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n"
            "TE: trailers\r\nConnection: close, TE\r\n\r\n")
    body = "5\r\nhello\r\n7\r\n, world\r\n0\r\nX-Checksum: 4711\r\nX-Forwarded-Client-Cert: URI=admin\r\n\r\n"
    answer = (await world.ask("web", "tcp", "orders", "80", "--send", head + body))["received"]
    expect(answer.startswith("HTTP/1.1 200 "), f"the upload was answered {answer[:200]!r}")
    said = json.loads(answer[answer.index("{"):answer.rindex("}") + 1])
    expect(said["body"] == "hello, world", f"the application got {said['body']!r}")
    trailers = [[name.lower(), value] for name, value in said["trailers"]]
    expect(trailers == [["x-checksum", "4711"]], f"the application was told in trailers: {trailers}")
    expect("\r\n0\r\nx-received-bytes: 12\r\n\r\n" in answer.lower(), f"no trailer came back: {answer[-80:]!r}")
    return "the application got 12 bytes and the trailer x-checksum, not the forged one; its own trailer came back"


async def websocket(world: World) -> str:
    text = f"echo-{world.rng.getrandbits(32):x}"
    opted_in, other = [await world.ask("web", "websocket", f"{ORDERS_URL}{path}", "--body", text) for path in ("/events", "/orders/events")]
    expect(opted_in["status"] == 101, f"expected 101, got {brief(opted_in)}")
    expect(opted_in["received"] == text, f"what came back was {opted_in['received']!r} {opted_in['error']}")
    expect(other["status"] == 200, f"where no rule allows it, the wish to upgrade was answered {brief(other)}")
    return "101 and the text came back, where the rule allows it; elsewhere an ordinary request: 200"


async def rate_limit(world: World) -> str:
    tenants = [f"{name}-{world.rng.getrandbits(32):x}" for name in ("one", "other")]
    seen = [await world.ask("web", "http", "GET", f"{ORDERS_URL}/metered/1", "--header", f"x-tenant:{tenant}")
            for tenant in (tenants[0], tenants[0], tenants[0], tenants[1])]
    for answer in (*seen[:2], seen[3]):
        expect_status(answer, 200)
    refusal = expect_refusal(seen[2], 429, "BZ0106")
    return f"200, 200, {refusal}; another tenant: 200"


async def retry(world: World) -> str:
    """The application answers the first request for each such path with 503."""
    began, path = time.time(), f"/flaky/{world.rng.getrandbits(32):x}"
    expect_status(await world.ask("web", "http", "GET", ORDERS_URL + path), 200)
    asked = [[record["status"] for record in await _logged(world, pod, began, path=path)] for pod in ("web", "orders")]
    expect(asked == [[200], [503, 200]], f"the access logs of web and orders say {asked}")
    post = await world.ask("web", "http", "POST", f"{ORDERS_URL}{path}-post")
    expect(post["status"] == 503, f"a POST was asked again: {brief(post)}")
    return "GET: 200, the application was asked twice (503, 200) and the client once; POST: 503, once"


async def redirect(world: World) -> str:
    marker = f"{world.rng.getrandbits(32):x}"
    answer = await world.ask("web", "http", "GET", f"{ORDERS_URL}/v1/orders/{marker}?q=1")
    expect_status(answer, 308)
    location = answer["headers"].get("location")
    expect(location == f"/orders/{marker}?q=1", f"it leads to {location}")
    expect(marker not in world.kubelet.log("orders", "orders").read_text(), "the application was asked")
    return f"308 to {location}; the application was not asked"


CHECKS = (
    Check("HTTP/2 from curl passes both sidecars to an application that speaks HTTP/1.1", http2),
    Check("a chunked upload arrives with its trailer, and a trailer comes back", chunked),
    Check("a WebSocket is opened where a rule allows it, and nowhere else", websocket),
    Check("a rate limit holds for each tenant alone", rate_limit),
    Check("the caller's sidecar asks again where the rule says so, and never for a POST", retry),
    Check("a redirection is answered by the sidecar", redirect),
)
