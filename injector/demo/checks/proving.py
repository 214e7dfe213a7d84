"""How an external host must prove itself: a database before a word of SQL, a certificate that has ended, a key that is another."""

import time

import trio

from injector.demo.outside import DATABASE_PORT, HOSTS
from injector.demo.world import World

from .check import SETTLE_S, Check, expect, expect_refusal, expect_status
from .leaving import requests

POD = "billing"
DATABASE, OPEN_DATABASE = "db.partner.example", "open-db.partner.example"
EXPIRED, WAIVED, PINNED = "expired.partner.example", "waived.partner.example", "pinned.partner.example"
METRICS_PORT = 15020


async def database(world: World) -> str:
    began, query = time.time(), f"query-{world.rng.getrandbits(32):x}"
    answer = await world.ask(POD, "tcp", DATABASE, str(DATABASE_PORT), "--send", query)
    expect(answer["received"] == query, f"the database answered {answer['received']!r} {answer['error']}")
    expect(answer["connected"] not in HOSTS[DATABASE].addresses.both(), "the application connected to the database itself")
    arrived = world.arrivals(DATABASE, began)
    said = [item["tls"] for item in arrived if item["event"] == "bytes" and item["head"] == query]
    expect(said == ["TLSv1.3"], f"the database was spoken to over {', '.join(map(str, said))}")
    shakes = [item["sni"] for item in arrived if item["event"] == "tls"]
    expect(shakes == [DATABASE], f"the database was asked for as {shakes}")
    return f"the application sent plaintext to {answer['connected']}, which stands for the name; {DATABASE} got it over {said[0]}"


async def open_database(world: World) -> str:
    began = time.time()
    answer = await world.ask(POD, "tcp", OPEN_DATABASE, str(DATABASE_PORT), "--send", "password")
    await trio.sleep(SETTLE_S)
    arrived = world.arrivals(OPEN_DATABASE, began)
    expect(any(item["event"] == "connect" for item in arrived), "the server was never connected to, so it declined nothing")
    got = [item for item in arrived if item["event"] == "bytes"]
    expect(not got, f"the server got {got[:1]}")
    expect("BZ0213" in answer["received"], f"the application was told {answer['received']!r} {answer['error']}")
    return f"the server was asked for TLS and got no byte more; the application was told: {_message(answer['received'])}"


def _message(text: str) -> str:
    """Of an ErrorResponse."""
    return next((field[1:] for field in text.split("\0") if field.startswith("M")), text)


async def expired(world: World) -> str:
    began = time.time()
    refusal = expect_refusal(await world.ask(POD, "http", "GET", f"http://{EXPIRED}/"), 503, "BZ0206")
    expect_status(await world.ask(POD, "http", "GET", f"http://{WAIVED}/"), 200)
    await trio.sleep(SETTLE_S)
    expect(not requests(world.arrivals(EXPIRED, began)), "the host with the expired certificate got the request")
    logged = [item["waived"] for item in world.access_log(POD, began) if item.get("host") == WAIVED]
    expect(logged == ["expiry"], f"the access log says of {WAIVED}: {logged}")
    told = await world.ask("legacy", "http", "GET", f"http://{world.address(POD)}:{METRICS_PORT}/metrics")
    counted = [line for line in told["body"].splitlines() if line.startswith("bartizan_egress_waived_total{")]
    expect(counted, "the metric does not tell of it")
    return f"{EXPIRED}: {refusal}; {WAIVED}, which has a waiver: 200, in the access log `waived: {logged[0]}`, and {counted[0]}"


async def pinned(world: World) -> str:
    began = time.time()
    refusal = expect_refusal(await world.ask(POD, "http", "GET", f"http://{PINNED}/"), 503, "BZ0206")
    await trio.sleep(SETTLE_S)
    arrived = world.arrivals(PINNED, began)
    expect(any(item["event"].startswith("tls") for item in arrived), "there was no handshake, so no key was judged")
    expect(not requests(arrived), f"the host got the request: {requests(arrived)[:1]}")
    why = [item.get("detail", "") for item in world.access_log(POD, began) if item.get("host") == PINNED]
    return f"{refusal}; in the access log: {why[0] if why else 'nothing'}; the host saw no byte of the request"


CHECKS = (
    Check("a database by name is asked for TLS in its own protocol, verified, and only then hears the application", database),
    Check("a database that declines TLS hears nothing of the application", open_database),
    Check("an expired certificate is refused; where a policy waives that, each connection is written down", expired),
    Check("a host with another key than the pinned one gets no byte of the request", pinned),
)
