"""What leaves a pod, as the outside world sees it: approved hosts over verified TLS, and nothing else."""

import json
import time

import trio

from injector.demo.outside import COLLECTED_TCP, COLLECTED_UDP, HOSTS
from injector.demo.settings import TRUST_DOMAIN
from injector.demo.world import Object, World

from .check import SETTLE_S, Check, brief, expect, expect_nothing_at, expect_refusal, expect_status

API, MUTUAL = "api.partner.example", "mutual.partner.example"
WRONG, NO_SECRET = "wrongcert.partner.example", "nosecret.partner.example"
GATED = "gated.partner.example"
UNAPPROVED, COLLECTOR = "unapproved.example", "collector.example"


def at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def requests(arrived: list[Object]) -> list[Object]:
    return [item for item in arrived if item["event"] == "request"]


async def control(world: World) -> str:
    """Every kind of packet that the checks below say does not arrive."""
    began, marker = time.time(), f"control-{world.rng.getrandbits(32):x}"
    async with trio.open_nursery() as nursery:
        for address in HOSTS[COLLECTOR].addresses.both():
            for port in COLLECTED_TCP:
                nursery.start_soon(world.ask, "legacy", "tcp", address, str(port), "--send", marker, "--timeout", "1")
            for port in COLLECTED_UDP:
                nursery.start_soon(world.ask, "legacy", "udp", address, str(port), "--send", marker, "--timeout", "1")
    await trio.sleep(SETTLE_S)
    got = [item for item in world.arrivals(COLLECTOR, began) if marker in item.get("head", "")]
    wanted = 2 * (len(COLLECTED_TCP) + len(COLLECTED_UDP))
    expect(len(got) == wanted, f"{len(got)} of {wanted} arrived, so the checks that follow would prove nothing")
    return f"{len(got)} of {wanted}: TCP {COLLECTED_TCP} and UDP {COLLECTED_UDP}, IPv4 and IPv6"


async def originated(world: World) -> str:
    began = time.time()
    answer = await world.ask("web", "http", "GET", f"http://{API}/v1/charges")
    expect_status(answer, 200)
    said = json.loads(answer["body"])
    expect(said["tls"] == "TLSv1.3", f"the host was spoken to over {said['tls']}")
    shakes = [item for item in world.arrivals(API, began) if item["event"] == "tls"]
    expect(shakes and all(item["sni"] == API and item["port"] == 443 for item in shakes), f"the host saw {shakes}")
    plain = [item for item in world.arrivals(API, began) if item["port"] == 80]
    expect(not plain, f"the host saw plaintext: {plain[:1]}")
    return f"200; the application said http://, {API} was spoken to over {said['tls']} with its own name"


async def client_certificate(world: World) -> str:
    answer = await world.ask("web", "http", "GET", f"http://{MUTUAL}/")
    expect_status(answer, 200)
    subject = json.loads(answer["body"])["client"]
    expect(subject == "shop-web", f"the host was shown a certificate for {subject!r}")
    return f"200; {MUTUAL} was shown the certificate of {subject}"


async def wrong_certificate(world: World) -> str:
    began = time.time()
    answer = await world.ask("web", "http", "GET", f"http://{WRONG}/secret")
    refusal = expect_refusal(answer, 503, "BZ0206")
    await trio.sleep(SETTLE_S)
    arrived = world.arrivals(WRONG, began)
    expect(any(item["event"] == "connect" for item in arrived), "the host was never connected to, so nothing was judged")
    expect(not requests(arrived), f"the host got the request: {requests(arrived)[:1]}")
    return f"{refusal}; the host saw a connection and no byte of the request"


async def missing_secret(world: World) -> str:
    began = time.time()
    refusal = expect_refusal(await world.ask("web", "http", "GET", f"http://{NO_SECRET}/"), 503, "BZ0203")
    await expect_nothing_at(world, NO_SECRET, began)
    return f"{refusal}; the host saw nothing"


async def gateway(world: World) -> str:
    began, gate, web = time.time(), world.kubelet.pod("egress").addresses.both(), f"spiffe://{TRUST_DOMAIN}/ns/shop/sa/web"
    expect_status(await world.ask("web", "http", "GET", f"http://{GATED}/v1/charges"), 200)
    clients = {item["client"] for item in world.arrivals(GATED, began) if item["event"] == "tls"}
    expect(clients and clients <= set(gate), f"the host was reached from {', '.join(sorted(clients)) or 'nowhere'}, not from the gateway")
    told = [(item["peer"], item["rule"]) for item in world.access_log("egress", began) if item["direction"] == "gateway"]
    expect(told == [(web, f"gated/{GATED}")], f"the gateway wrote {told}")
    began = time.time()
    service = world.api.get("Service", "gateways", "egress") or {}
    straight = await world.ask("thief", "http", "GET", f"http://{GATED}/", "--to", f"{service['spec']['clusterIP']}:443")
    expect(straight["status"] != 200, "a pod that nobody approved got out by calling the gateway itself")
    await expect_nothing_at(world, GATED, began)
    return f"200; {GATED} saw {', '.join(clients)}, the gateway wrote down {web}; the thief, calling it itself: {brief(straight)}"


async def unapproved(world: World) -> str:
    began = time.time()
    address = HOSTS[UNAPPROVED].addresses.ipv4
    named = await world.ask("web", "http", "GET", f"http://{UNAPPROVED}/")
    expect(named["error"].startswith("gaierror"), f"the name of an unapproved host was answered: {brief(named)}")
    plain = await world.ask("web", "http", "GET", f"http://{UNAPPROVED}/", "--to", at(address, 80))
    refusal = expect_refusal(plain, 403, "BZ0201")
    sealed = await world.ask("web", "http", "GET", f"https://{UNAPPROVED}/", "--to", at(address, 443))
    expect(sealed["status"] == 0, f"TLS to an unapproved host got {brief(sealed)}")
    await expect_nothing_at(world, UNAPPROVED, began)
    logged = [item for item in world.access_log("web", began)
              if item.get("code") == "BZ0201" and UNAPPROVED in item.get("host", "")]
    expect(len(logged) >= 2, f"the access log has {len(logged)} refusals for {UNAPPROVED}, not both")
    return f"{refusal}; TLS: {brief(sealed)}; both are in the access log, the host saw nothing"


async def host_header(world: World) -> str:
    seen = []
    for address in HOSTS[COLLECTOR].addresses.both():
        began = time.time()
        answer = await world.ask("web", "http", "GET", f"http://{API}/bound", "--to", at(address, 80))
        await expect_nothing_at(world, COLLECTOR, began)
        expect_status(answer, 200)
        expect(json.loads(answer["body"])["host"] == API, f"the answer came from {json.loads(answer['body'])['host']}")
        seen.append(at(address, 80))
    return f"asked of {' and '.join(seen)}, answered by {API}; the address dialled saw nothing"


async def server_name(world: World) -> str:
    seen = []
    for address in HOSTS[COLLECTOR].addresses.both():
        began = time.time()
        answer = await world.ask("web", "http", "GET", f"https://{API}/bound", "--to", at(address, 443))
        await expect_nothing_at(world, COLLECTOR, began)
        expect_status(answer, 200)
        expect(answer["certificate"] == [API], f"the certificate shown was for {answer['certificate']}")
        seen.append(at(address, 443))
    return f"asked of {' and '.join(seen)}, answered by {API} with its own certificate; the address dialled saw nothing"


async def direct_address(world: World) -> str:
    began, seen = time.time(), []
    addresses = HOSTS[COLLECTOR].addresses

    async def dial(address: str, port: int) -> None:
        plain = await world.ask("web", "tcp", address, str(port), "--send", "exfiltrated\r\n\r\n", "--timeout", "3")
        expect(" 200 " not in plain["received"], f"{at(address, port)} was answered")
        seen.append(at(address, port))

    async def ask(address: str) -> None:
        answer = await world.ask("web", "http", "GET", f"http://{at(address, 80)}/")
        expect(answer["status"] in (0, 403), f"http://{at(address, 80)}/ got {brief(answer)}")
        seen.append(f"http://{at(address, 80)}/ ({brief(answer)})")

    async with trio.open_nursery() as nursery:
        for address in addresses.both():
            nursery.start_soon(ask, address)
            for port in COLLECTED_TCP:
                nursery.start_soon(dial, address, port)
    await expect_nothing_at(world, COLLECTOR, began)
    return f"{', '.join(sorted(seen))}: nothing arrived"


async def datagrams(world: World) -> str:
    began, seen = time.time(), []
    for address in HOSTS[COLLECTOR].addresses.both():
        for port in (443, 4000):
            answer = await world.ask("web", "udp", address, str(port), "--send", "exfiltrated", "--timeout", "0.5")
            expect(not answer["received"], f"UDP {at(address, port)} was answered")
            seen.append(f"{at(address, port)} {answer['error']}")
    await expect_nothing_at(world, COLLECTOR, began)
    return f"{'; '.join(seen)}; nothing arrived"


async def unguarded_dns(world: World) -> str:
    began, seen = time.time(), []
    for address in HOSTS[COLLECTOR].addresses.both():
        answer = await world.ask("web", "dns", address, "53", "--send", "exfiltrated.collector.example", "--timeout", "2")
        await expect_nothing_at(world, COLLECTOR, began)
        expect(answer["received"].endswith(" 0 answers"), f"{at(address, 53)}: {answer['received'] or answer['error']}")
        seen.append(f"{at(address, 53)}: {answer['received']}")
    return f"answered by the guard ({'; '.join(seen)}); nothing arrived"


CHECKS = (
    Check("control: what a pod without sidecar sends does arrive outside", control),
    Check("an approved host is reached over TLS that the sidecar originates and verifies", originated),
    Check("a host that demands a client certificate is shown the right one", client_certificate),
    Check("an approved name with a wrong certificate gets no byte of the request", wrong_certificate),
    Check("a missing client secret closes the host, and nothing is sent", missing_secret),
    Check("a policy can require the way through the gateway, which knows whom it leads out", gateway),
    Check("an unapproved host is refused, logged, and sees nothing", unapproved),
    Check("an approved Host header towards another address leads to the approved host", host_header),
    Check("an approved TLS name towards another address leads to the approved host", server_name),
    Check("an address without a name is refused, IPv4 and IPv6", direct_address),
    Check("UDP 443 and other UDP are refused, IPv4 and IPv6", datagrams),
    Check("a DNS query to anybody's server goes to the guard, IPv4 and IPv6", unguarded_dns),
)
