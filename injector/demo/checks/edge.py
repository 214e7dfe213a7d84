"""What clients outside of the mesh get of it, by the ingress gateway."""

import json

from injector.demo import settings
from injector.demo.world import Object, World
from injector.settings import GATEWAY, SYSTEM
from sidecar.model.identity import workload_id

from .check import Check, brief, expect, expect_refusal, expect_status
from .mesh import ORDERS, identities

HOST = "shop.demo.example"
CLIENT = "203.0.113.10"     # the first address outside
CALLER = workload_id(settings.TRUST_DOMAIN, SYSTEM, GATEWAY)
LISTENS = {"http": 8080, "https": 8443}     # where the Service's ports lead


async def _ask(world: World, url: str, *words: str) -> Object:
    """What a client outside is answered."""
    to = f"{world.address(GATEWAY)}:{LISTENS[url.partition(':')[0]]}"
    return await world.ask_outside("http", "GET", url, "--to", to, *words)


async def reached(world: World) -> str:
    forged = ("x-forwarded-for:192.0.2.66", 'bartizan-client:{"address":"192.0.2.66","scheme":"http","host":"admin","port":80}')
    answer = await _ask(world, f"https://{HOST}/orders/1", *(word for field in forged for word in ("--header", field)))
    expect(answer["certificate"] == [HOST], f"the gateway showed a certificate for {answer['certificate']}: {brief(answer)}")
    expect_status(answer, 200)
    fields, tls = identities(answer["body"])
    expect((fields.get("URI"), fields.get("By"), tls) == (CALLER, ORDERS, "TLSv1.3"), f"the application was told {fields}, {tls!r}")
    told = {name.lower(): value for name, value in json.loads(answer["body"])["headers"]}
    expect(told.get("x-forwarded-for") == CLIENT, f"the application was told x-forwarded-for: {told.get('x-forwarded-for')}")
    expect("bartizan-client" not in told, "the gateway's word reached the application")
    return f"200 under the certificate of {HOST}; the application saw {CALLER} over {tls}, for {told['forwarded']}"


async def strangers(world: World) -> str:
    nobody = expect_refusal(await _ask(world, "http://nobody.example/orders/1"), 404, "BZ0113")
    path = expect_refusal(await _ask(world, f"https://{HOST}/uploads/1"), 404, "BZ0113")
    other = expect_refusal(await _ask(world, f"https://{HOST}/orders/1", "--header", "Host:nobody.example"), 421, "BZ0208")
    unnamed = await _ask(world, "https://nobody.example/orders/1")
    expect(not unnamed["status"], f"TLS for a name without certificate: {brief(unnamed)}, certificate {unnamed['certificate']}")
    plain = await _ask(world, f"http://{HOST}/orders/1?q=1")
    expect_status(plain, 308)
    location = plain["headers"].get("location")
    expect(location == f"https://{HOST}/orders/1?q=1", f"plain HTTP is led to {location}")
    return f"another host: {nobody}; another path: {path}; Host beside the TLS name: {other}; plain HTTP: 308; TLS: {unnamed['error']}"


CHECKS = (
    Check("a client from outside reaches a pod over mTLS by the ingress gateway, which alone says who it is", reached),
    Check("the ingress gateway answers for no host or path that no rule names, and shows no other certificate", strangers),
)
