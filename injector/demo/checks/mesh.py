"""Inside the mesh: who may call whom, as the application, the caller and the wire see it."""

import json

from injector.demo.capture import capturing
from injector.demo.settings import TRUST_DOMAIN
from injector.demo.world import World
from sidecar.model import ports
from sidecar.model.identity import workload_id

from .check import Check, brief, expect, expect_refusal, expect_status

WEB = workload_id(TRUST_DOMAIN, "shop", "web")
ORDERS = workload_id(TRUST_DOMAIN, "shop", "orders")
ALLOWED = "http://orders/orders/1"


def identities(body: str) -> tuple[dict[str, str], str]:
    """What the application was told of the caller: the fields of x-forwarded-client-cert, and the TLS version."""
    headers = {name.lower(): value for name, value in json.loads(body)["headers"]}
    fields = (part.partition("=") for part in headers.get("x-forwarded-client-cert", "").split(";"))
    return {name: value for name, _, value in fields}, headers.get("x-bartizan-tls", "")


async def allowed(world: World) -> str:
    answer = await world.ask("web", "http", "GET", ALLOWED)
    expect_status(answer, 200)
    fields, tls = identities(answer["body"])
    expect(fields.get("URI") == WEB, f"the application was told that {fields.get('URI')!r} calls")
    expect(fields.get("By") == ORDERS, f"the application was told that {fields.get('By')!r} is called")
    expect(tls == "TLSv1.3", f"the application was told TLS version {tls!r}")
    return f"200; the application saw {WEB} call {ORDERS} over {tls}"


async def forged_claims(world: World) -> str:
    """Everything by which the application could believe in another caller, address or URL."""
    forged = {
        "X-Forwarded-Client-Cert": f"By={ORDERS};URI={workload_id(TRUST_DOMAIN, 'shop', 'admin')}",
        "x-bartizan-tls": "TLSv9.admin", "X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66", "x-real-ip": "192.0.2.66",
        "x-forwarded-proto": "admin", "X-Original-URL": "/admin", "x-http-method-override": "admin", "traceparent": "admin",
        "Connection": "x-tenant", "x-tenant": "admin",      # named as an option of the connection, a field ends with it
    }
    words = [word for name, value in forged.items() for word in ("--header", f"{name}:{value}")]
    answer = await world.ask("web", "http", "GET", ALLOWED, *words)
    expect_status(answer, 200)
    headers = [(name.lower(), value) for name, value in json.loads(answer["body"])["headers"]]
    believed = [f"{name}: {value}" for name, value in headers if "admin" in value or "192.0.2.66" in value]
    expect(not believed, f"the application was told {believed}")
    told = dict(headers)
    expect(WEB in told.get("x-forwarded-client-cert", ""), "the application was not told the caller's identity")
    expect(told.get("x-forwarded-for") in world.kubelet.pod("web").addresses.both(),
           f"the application was told x-forwarded-for: {told.get('x-forwarded-for')}")
    return f"{len(forged)} forged fields are gone; the application was told {told['x-forwarded-client-cert']}, {told.get('forwarded')}"


async def method(world: World) -> str:
    return expect_refusal(await world.ask("web", "http", "DELETE", ALLOWED), 403, "BZ0101")


async def path(world: World) -> str:
    return expect_refusal(await world.ask("web", "http", "GET", "http://orders/admin"), 403, "BZ0101")


async def thief(world: World) -> str:
    return expect_refusal(await world.ask("thief", "http", "GET", ALLOWED), 403, "BZ0102")


async def over_ipv6(world: World) -> str:
    service = world.api.get("Service", "shop", "orders")
    assert service is not None
    address = service["spec"]["clusterIPs"][1]
    answer = await world.ask("web", "http", "GET", ALLOWED, "--to", f"[{address}]:80")
    expect_status(answer, 200)
    expect(identities(answer["body"])[0].get("URI") == WEB, "the application was not told the caller's identity")
    return f"200 by way of [{address}]:80"


async def plaintext(world: World) -> str:
    seen = []
    for address in world.kubelet.pod("orders").addresses.both():
        to = f"[{address}]:8080" if ":" in address else f"{address}:8080"
        answer = await world.ask("legacy", "http", "GET", "http://orders.shop/orders/plain", "--to", to)
        expect(answer["status"] != 200, f"a pod without sidecar reached the application at {to} in plaintext")
        seen.append(f"{to}: {brief(answer)}")
    log = world.kubelet.log("orders", "orders").read_text()
    expect("/orders/plain" not in log, "the application saw the request, though it was answered otherwise")
    return "; ".join(seen)


async def wire(world: World) -> str:
    """The same bytes in plaintext, from a pod without sidecar, prove that the capture would have seen them."""
    secret, open_words = f"secret-{world.rng.getrandbits(64):x}", f"open-{world.rng.getrandbits(64):x}"
    async with capturing() as frames:
        answer = await world.ask("web", "http", "GET", f"{ALLOWED}?q={secret}", "--header", f"x-secret:{secret}")
        to = f"{world.address('orders')}:8080"
        await world.ask("legacy", "http", "GET", f"http://orders/{open_words}", "--to", to)
    expect_status(answer, 200)
    expect(secret in answer["body"], "the application did not get what was sent")
    expect(frames.count(open_words.encode()) > 0, "the capture does not even see plaintext")
    expect(frames.count(secret.encode()) == 0, f"{frames.count(secret.encode())} frames on the bridge hold what was sent")
    return f"{len(frames.frames)} frames, {frames.octets()} bytes: what web sent is in none, what legacy sent in plaintext is"


async def own_ports(world: World) -> str:
    """From another pod, and from the application itself, which needs no redirect to reach the loopback."""
    seen = []
    orders = world.kubelet.pod("orders").addresses
    private = (ports.OUTBOUND, ports.INBOUND, ports.DNS, 15000)
    targets = [("legacy", address, port) for address in orders.both() for port in private]
    targets += [("web", "127.0.0.1", ports.OUTBOUND), ("web", "::1", ports.OUTBOUND)]
    for pod, address, port in targets:
        answer = await world.ask(pod, "tcp", address, str(port), "--send", "GET /orders/1 HTTP/1.1\r\nHost: orders\r\n\r\n")
        reason = next((line for line in answer["received"].split("\r\n") if line.lower().startswith("x-bartizan-reason")), "")
        # Whatever is not our refusal, a 404 too, comes from somebody who listens there.
        expect(reason or not answer["received"], f"{pod} was answered at {address}:{port}: {answer['received'][:100]!r}")
        seen.append(f"{address}:{port} {reason.partition(': ')[2] or answer['error'] or 'closed without an answer'}")
    return "; ".join(seen)


async def admin(world: World) -> str:
    done = await world.run("web", "ls", "/run/bartizan/private")
    expect(done.status != 0, f"the application sees the sidecar's private folder: {done.out.decode(errors='replace').split()}")
    for path in ("/snapshot", "/certificates", "/status"):
        for port in (ports.HEALTH, ports.METRICS):
            answer = await world.ask("legacy", "http", "GET", f"http://{world.address('orders')}:{port}{path}")
            expect(answer["status"] != 200, f"another pod was answered {path} on port {port}")
    own = await world.admin("orders", "GET", "/snapshot")
    expect(b'"workload"' in own, "the admin does not answer the sidecar's own container either")
    return "no folder and no port leads there; the sidecar's own container is answered"


CHECKS = (
    Check("web reaches orders over mTLS, and the application is told both identities", allowed),
    Check("an identity that a client makes up, and whatever else it claims, does not reach the application", forged_claims),
    Check("a method that no rule allows is refused with code and rule", method),
    Check("a path that no rule allows is refused with code and rule", path),
    Check("the right network with the wrong identity is refused", thief),
    Check("the same holds over IPv6", over_ipv6),
    Check("plaintext from a pod without sidecar is refused", plaintext),
    Check("the bridge carries none of the bytes that were sent", wire),
    Check("another pod cannot use the sidecar's own ports", own_ports),
    Check("neither the application nor another pod reaches the admin", admin),
)
