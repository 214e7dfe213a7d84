"""What the operator is told of a pod's ways out: by the sidecar itself, and what the outside world saw of the asking."""

import json
import time

import trio

from injector.demo.settings import STATE
from injector.demo.world import Object, World

from .check import SETTLE_S, Check, expect
from .leaving import API, MUTUAL, UNAPPROVED, WRONG, requests

POD = "shop/web"


async def ask(world: World, *words: str) -> tuple[int, Object]:
    """The exit status, and the steps by name."""
    done = await world.bartizan(*words, "--state", str(STATE), "--json")
    expect(done.out, f"`bartizan {' '.join(words)}` said nothing but: {done.err.decode(errors='replace')[-300:]}")
    told = json.loads(done.out)
    return done.status, {one["name"]: one for one in told["steps"]} | {"code": told.get("code", "")}


async def explained(world: World) -> str:
    began = time.time()
    status, steps = await ask(world, "egress", "explain", POD, MUTUAL)
    expect(status == 0, f"{MUTUAL} is not reached: {steps}")
    proof = steps["proof"]["facts"]
    expect(proof["client"] == "CN=shop-web" and proof["names"] == MUTUAL, f"the proof is {proof}")
    await trio.sleep(SETTLE_S)
    arrived = world.arrivals(MUTUAL, began)
    expect(any(item["event"] == "tls" for item in arrived), "no handshake was seen outside")
    expect(not requests(arrived), f"the host got a request: {requests(arrived)[:1]}")
    return (f"{steps['request']['facts']['entry']}; {steps['approval']['words']}; shown {proof['client']}, "
            f"{proof['tls']}, the server's certificate until {proof['expires']}; the host saw no request")


async def refused(world: World) -> str:
    seen = []
    for host, step, code in ((UNAPPROVED, "approval", "BZ0201"), (WRONG, "proof", "BZ0206")):
        status, steps = await ask(world, "egress", "explain", POD, host)
        expect(status == 1 and steps["code"] == code, f"{host}: status {status}, {steps['code']}")
        expect(steps[step]["outcome"] in ("refused", "failed"), f"{host}: {step} is {steps[step]}")
        seen.append(f"{host}: {steps['policy' if host == UNAPPROVED else step]['words']}")
    return "; ".join(seen)


async def in_the_mesh(world: World) -> str:
    status, steps = await ask(world, "egress", "explain", POD, "orders")
    expect(status == 0, f"orders is not reached: {steps}")
    expect(steps["proof"]["facts"]["peer"].endswith("/ns/shop/sa/orders"), f"the proof is {steps['proof']}")
    return f"{steps['destination']['words']}: {steps['proof']['words']}"


async def verified(world: World) -> str:
    began, seen = time.time(), []
    urls = (f"http://{API}/v1/verified", 0, ""), ("http://orders/orders/1", 0, ""), (f"http://{UNAPPROVED}/", 1, "BZ0201")
    for url, wanted, code in urls:
        status, steps = await ask(world, "verify", POD, url)
        expect((status, steps["code"]) == (wanted, code), f"{url}: status {status}, {steps}")
        seen.append(f"{url}: {code or steps['answer']['words']}")
    await trio.sleep(SETTLE_S)
    lines = [item["line"] for item in requests(world.arrivals(API, began)) if "/v1/verified" in item["line"]]     # others ask it, too
    expect(lines == ["GET /v1/verified HTTP/1.1"], f"the host saw {lines}")
    return "; ".join(seen)


CHECKS = (
    Check("the operator is told each step to an approved host, with the certificates of both ends", explained),
    Check("the operator is told what an unapproved host lacks, and why a wrong certificate is none", refused),
    Check("the operator is told who proves to be a Service of the mesh", in_the_mesh),
    Check("a real request is sent for the operator by the application's own way", verified),
)
