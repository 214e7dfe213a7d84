"""A gateway takes its snapshot whole or not at all, and everybody's rules are in it: nothing that anybody says may stop the others."""

import json
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from injector.cluster import Cluster
from injector.cluster.checked import checked
from injector.cluster.default_classes import with_classes
from injector.compile import Compiled, compile_workload
from injector.compile.last_good import LastGood
from injector.documents import EDGE as ANNOTATION
from injector.validate import read_edge
from sidecar.model.errors import MeshError
from sidecar.model.snapshot import Snapshot, parse_snapshot, render_snapshot
from sidecar.net.tls_edge import EdgeHosts
from sidecar.policy.rules import Rules
from tests.injector.compile.edge_objects import KINDS, Item, backend, ingress, path, rule, service
from tests.injector.compile.edge_secrets import secret_of
from tests.injector.compile.gateway_objects import gateway, listener, route, secure, to
from tests.injector.pods import egress_policy, ingress_gateway

LONG, LABEL = "a" * 253, "n" * 63       # the longest that Kubernetes takes
WIDE = "*." + ".".join(["b" * 62] * 3) + "." + "c" * 62      # of 253 letters


def compiled(*objects: Item) -> Compiled:
    made = [service("one", space) for space in ("shop", LABEL)]
    taken = []
    for item in with_classes([*made, *objects]):
        try:
            taken.append(checked(dict(item)))
        except MeshError:
            event("not taken in")
    pod = ingress_gateway()
    found = compile_workload(Cluster.of([*taken, pod]), pod["metadata"]["uid"], "example.org", LastGood())
    assert found is not None
    return found


def taken(*objects: Item) -> Snapshot:
    """The snapshot, as the gateway puts it in force."""
    made = compiled(*objects).snapshot
    snapshot = parse_snapshot(render_snapshot(made))
    assert snapshot == made
    assert snapshot.edge is not None
    Rules.of(snapshot, "")      # expressions are compiled here, and what fields the edge owns found
    EdgeHosts().follow(snapshot.edge)
    return snapshot


@pytest.mark.parametrize("objects", [
    (ingress(LONG, [rule("x.test", path("P", "/", "one"))], namespace=LABEL, defaultBackend=backend("one"), tls=[{"secretName": LONG}]),),
    (ingress("a", [rule(WIDE, path("P", "/", "one"))]), ingress("b", [rule(None, path("P", "/", "one"))])),
    (gateway(listener(hostname=WIDE), secure(hostname=WIDE, certificate=LONG)), route(hostnames=[WIDE])),
    (gateway(listener(allowedRoutes={"namespaces": {"from": "All"}}), secure("x" * 63), namespace=LABEL),
     *(route(name=f"{LONG[:-1]}{i}", namespace=LABEL, hostnames=[f"{i}.test"]) for i in "bc")),
    (gateway(listener(), listener("wild", hostname="*.test")), route({"backendRefs": [to("one")]}, name=LONG, hostnames=["x.test", "y.b"])),
], ids=["names", "hosts", "listeners", "names that begin alike", "places"])
def test_the_longest_names_that_kubernetes_takes_are_taken(objects: tuple[Item, ...]) -> None:
    assert taken(*objects).edge


# What an Ingress says, and what stands in its annotation: much of it valid, so that what is odd comes through to the snapshot.


def some(*given: Any, most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(given), max_size=most)


def fields(*needed: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: known.pop(name) for name in needed}, optional=known)


NAMES = st.sampled_from(["web", "web/0", "web/default", "0", "https", LONG, "é\n", "x" * 1100])
SPACES = st.sampled_from(["shop", LABEL, "other", "Shop", "x/y"])
A_HOST = (None, "", "x.test", "*.x.test", WIDE, "**.x.test", "*", "X.test", "x.test.", "x..test", "1.2.3.4", "[::1]", "é", "_x")
A_PATH = (None, "", "/", "/a", "/a/", "/%61", "/a%2fb", "/a;b", "/../a", "/é", "/" + "a" * 1023, "//", "/a?b", "/\ud800", "/*", "a")
BACKENDS = st.sampled_from([
    backend("one"), backend("one", "http"), backend("one", 81), backend("gone"), backend("A.b"), backend("one", 0), {}, None])
PATHS = fields(
    "pathType", "path", "backend", pathType=st.sampled_from([*KINDS.values(), "x"]), path=st.sampled_from(A_PATH), backend=BACKENDS,
)
RULES = st.builds(lambda host, paths: {"host": host, "http": {"paths": paths}}, st.sampled_from(A_HOST), st.lists(PATHS, max_size=2))
SECRETS = st.sampled_from(["auth", "auth", "auth", "gone", "", LONG, "A\n"])
SPEC = fields(
    "rules", rules=st.lists(RULES, max_size=2), defaultBackend=BACKENDS,
    tls=st.lists(fields("secretName", secretName=SECRETS, hosts=some(*A_HOST)), max_size=2),
)

A_TEXT = (
    "", "a", "x-a", "x_a", "bartizan-client", "Host", "a b", "/", "/a", "/é", "10.0.0.0/8", "::/0", "10.0.0.1/8", "GET", "get", "1s", "0s",
    "99999h", "1ms", "9s", "1MiB", "999999999GiB", "*", "x" * 300, "x" * 5000, "\r\n", "\0", "é", "\U0001f600",
)
A_NAME = ("x-a", "X-A", "x-b", "cookie", "authorization", "a" * 256)
TEXT, NAME, VALUE = (st.sampled_from(texts) for texts in (A_TEXT, (*A_NAME, *A_TEXT), ("yes", "a" * 4096, "." * 1024, *A_TEXT)))
NUMBER = st.sampled_from([-1, 0, 1, 50, 100, 101, 70000, 2**31, 2**53, 2**63 - 1, 2**64, 10**30])
CIDRS = some("10.0.0.0/8", "::/0", "0.0.0.0/0", *A_TEXT)
EDIT = fields(set=st.dictionaries(NAME, VALUE, max_size=2), add=st.dictionaries(NAME, VALUE, max_size=1), remove=some(*A_NAME))
JWT = fields("issuer", "audiences", issuer=st.just("https://issuer.example") | TEXT, audiences=some(*A_NAME), header=NAME)
CLIENTS = st.lists(fields(
    roles=some(*A_NAME), claims=st.dictionaries(TEXT, some(*A_TEXT), max_size=2), source=st.just("::/0") | TEXT), max_size=2)
EXTERNAL = fields(
    service=st.sampled_from(["one", "gone", LONG]), port=NUMBER, prefix=TEXT, sends=some(*A_NAME), takes=some(*A_NAME, "x_y"), within=TEXT,
    host=st.sampled_from(["auth.example.com", "A", "1.2.3.4", "*", "localhost", WIDE[2:]]),
)
AUTHENTICATION = fields(
    jwt=JWT | st.lists(JWT, max_size=2), apiKeys=fields("secret", secret=SECRETS, header=NAME),
    basic=fields("secret", secret=SECRETS, realm=TEXT), clientCertificate=fields("secret", secret=SECRETS, mode=st.just("optional")),
    optional=st.booleans(), claimHeaders=st.dictionaries(NAME, NAME, max_size=2), keepCredentials=st.booleans(), external=EXTERNAL,
)
CANARY = fields(
    "service", "port", service=st.just("one") | TEXT, port=st.just(80) | st.just("http") | NUMBER, weight=NUMBER,
    header=fields("name", "value", name=NAME, value=VALUE), cookie=fields("name", "value", name=NAME, value=VALUE),
)
EDGE = fields(
    httpsRedirect=st.booleans(), canary=st.lists(CANARY, max_size=3), authentication=AUTHENTICATION,
    authorization=st.lists(fields(paths=some(*A_PATH), methods=some("GET", *A_TEXT), allow=CLIENTS, deny=CLIENTS), max_size=2),
    rateLimit=fields("requests", requests=NUMBER, per=TEXT, by=st.just("header"), header=NAME, burst=NUMBER),
    concurrency=NUMBER, maxBody=NUMBER | TEXT, timeouts=fields(request=TEXT, idle=TEXT),
    retries=fields(attempts=NUMBER, on=some(500, 503, 1), perTry=TEXT, budgetPercent=NUMBER, backoff=TEXT),
    allowFrom=CIDRS, denyFrom=CIDRS, requestHeaders=EDIT, responseHeaders=EDIT, minTlsVersion=st.sampled_from(["1.2", "1.3", "1.1"]),
)
HASH = "$2b$10$" + "a" * 53
LINES = some(
    f"ada:{HASH}", f"{LONG}b:{HASH}", "ada:$2y$99$x", f"é\0:{HASH}", "x", f"ada\u2028b:{HASH}", "#", "a: b,,c", most=4,
).map("\n".join)
HELD = fields(**{
    "auth": LINES, "roles": LINES, "ca.crt": st.just("x"), "tls.crt": st.just("x"), "tls.key": st.just("x"), "x" * 300: st.just("b" * 64),
    "ada": st.sampled_from(["a" * 64, "a" * 64 + " roles=x," + "y" * 300, "A" * 64]), "é\n": st.just("c" * 64),
})


@st.composite
def ingresses(draw: st.DrawFn) -> list[Item]:
    made = []
    for _ in range(draw(st.integers(1, 3))):
        # Each field for itself: one that is none of ours leaves all of them unread.
        edge = draw(EDGE)
        made.append(ingress(draw(NAMES), namespace=draw(SPACES), edge=json.dumps(edge) if edge else None, **draw(SPEC)))
    return made


@settings(max_examples=150)
@given(ingresses(), HELD)
def test_no_ingress_stops_the_others(hostile: list[Item], held: dict[str, str]) -> None:
    for one in hostile:
        reading = read_edge(one["metadata"].get("annotations", {}).get(ANNOTATION, "{}"))
        for name in reading.entries:
            event(f"in force: {name}")
    secrets = [secret_of("auth", held, namespace=space) for space in ("shop", LABEL, "other")]
    innocent = ingress("innocent", [rule("innocent.test", path("P", "/", "one"))], created="2020-01-01T00:00:00Z")
    snapshot = taken(innocent, *secrets, *hostile, egress_policy())
    assert snapshot.edge is not None
    assert any(one.hosts == ("innocent.test",) for one in snapshot.edge.routes)
