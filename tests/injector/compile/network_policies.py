"""NetworkPolicies in a small world, each with who may then reach whom: written from the API's documentation, case by case.

    shop  (team: a, env: prod)   web  app=web tier=front, http 8080, metrics 9090
                                 api  app=api tier=back, http 80
                                 db   app=db tier=back, sql 5432, no sidecar
                                 old  app=web, has ended; its address is nobody's
                                 node app=web, in the node's network
    bank  (team: b, env: prod)   web  app=web tier=front, http 8081
                                 pay  app=pay, http 80, dns 53 of UDP, 9000 by number; IPv4 and IPv6
    void  (no labels)            web  app=web, http 8082, no sidecar

A question is `FROM TO:PORT`, each a pod or an address.
"""

from dataclasses import dataclass
from typing import Any

import yaml

PODS = {
    "shop/web": ("10.0.1.1", {"app": "web", "tier": "front"}, {"http": 8080, "metrics": 9090}),
    "shop/api": ("10.0.1.2", {"app": "api", "tier": "back"}, {"http": 80}),
    "shop/db": ("10.0.1.3", {"app": "db", "tier": "back"}, {"sql": 5432}),
    "shop/old": ("10.0.1.4", {"app": "web"}, {"http": 8080}),
    "shop/node": ("10.9.0.1", {"app": "web"}, {"http": 8080}),
    "bank/web": ("10.0.2.1", {"app": "web", "tier": "front"}, {"http": 8081}),
    "bank/pay": ("10.0.2.2", {"app": "pay"}, {"http": 80, "": 9000}),
    "void/web": ("10.0.3.1", {"app": "web"}, {"http": 8082}),
}
WITHOUT_SIDECAR = ("shop/db", "void/web", "shop/node")
SIX = "fd00::2:2"       # of bank/pay, besides
NAMESPACES = {"shop": {"team": "a", "env": "prod"}, "bank": {"team": "b", "env": "prod"}, "void": {}}
OUTSIDE = ("203.0.113.7", "203.0.113.200", "198.51.100.9", "10.0.1.4", "10.9.0.1", "2001:db8::7", "fd00::9")
NUMBERS = (53, 80, 443, 5432, 8080, 8081, 8082, 9000, 9090, 32000)


def pod(name: str, address: str, labels: dict[str, str], ports: dict[str, int], *more: str) -> dict[str, Any]:
    namespace, _, plain = name.partition("/")
    listed = [{**({"name": port} if port else {}), "containerPort": number} for port, number in ports.items()]
    if plain == "pay":
        listed.append({"name": "dns", "containerPort": 53, "protocol": "UDP"})
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": plain, "namespace": namespace, "uid": f"u-{namespace}-{plain}", "labels": labels},
        "spec": {
            "serviceAccountName": plain, "containers": [{"name": "app", "ports": listed}],
            "initContainers": [] if name in WITHOUT_SIDECAR else [{"name": "bartizan-sidecar"}], "hostNetwork": plain == "node",
        },
        "status": {"phase": "Succeeded" if plain == "old" else "Running", "podIPs": [{"ip": text} for text in (address, *more)]},
    }


WORLD: list[dict[str, Any]] = [
    *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name, labels in NAMESPACES.items()),
    *(pod(name, *said, *([SIX] if name == "bank/pay" else [])) for name, said in PODS.items()),
]


def policy(spec: dict[str, Any], name: str = "one", namespace: str = "shop") -> dict[str, Any]:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


@dataclass(frozen=True)
class Case:
    """
    Args:
        specs: as YAML; one may begin with `NAMESPACE:`, else it is of shop.
        yes, no: questions, with commas between.
    """

    name: str
    specs: tuple[str, ...]
    yes: str = ""
    no: str = ""

    @property
    def manifests(self) -> list[dict[str, Any]]:
        made = []
        for number, text in enumerate(self.specs):
            namespace, colon, rest = text.partition(":\n")
            has_namespace = bool(colon) and namespace in NAMESPACES
            made.append(policy(yaml.safe_load(rest if has_namespace else text), f"p{number}", namespace if has_namespace else "shop"))
        return [*WORLD, *made]


def case(name: str, *specs: str, yes: str = "", no: str = "") -> Case:
    return Case(name, specs, yes, no)


API = "podSelector: {matchLabels: {app: api}}\n"
WEB = "podSelector: {matchLabels: {app: web}}\n"
ALL = "podSelector: {}\n"

CASES = (
    # -- isolation, and which directions
    case("no policy isolates nobody", yes="bank/web shop/api:80, void/web shop/db:5432, shop/api 203.0.113.7:443"),
    case("a policy without rules lets nothing in", API, yes="shop/api shop/web:8080", no="shop/web shop/api:80, 203.0.113.7 shop/api:80"),
    case("who is not selected is not isolated", API, yes="bank/web shop/web:8080, shop/web shop/db:5432, shop/api bank/web:8081"),
    case("a policy means pods of its own namespace", WEB,
         yes="shop/web bank/web:8081, shop/web void/web:8082", no="bank/web shop/web:8080"),
    case("no podSelector selects everybody there", "policyTypes: [Ingress]\n", yes="shop/web bank/pay:80", no="bank/web shop/db:5432"),
    case("an empty podSelector does, too", ALL, yes="shop/api bank/web:8081", no="bank/web shop/web:8080, shop/api shop/web:8080"),
    case("without policyTypes and egress rules: Ingress alone", API + "ingress: [{}]", yes="bank/web shop/api:80, shop/api bank/web:8081"),
    case("egress rules without policyTypes isolate both ways", API + "egress: [{}]",
         yes="shop/api bank/web:8081", no="bank/web shop/api:80"),
    case("an empty egress section is none to the API server", API + "egress: []", yes="shop/api bank/web:8081", no="bank/web shop/api:80"),
    case("policyTypes: Egress isolates no ingress", API + "policyTypes: [Egress]", yes="bank/web shop/api:80", no="shop/api bank/web:8081"),
    case("policyTypes: Ingress isolates no egress", API + "policyTypes: [Ingress]\negress: [{to: [{podSelector: {}}]}]",
         yes="shop/api bank/web:8081", no="bank/web shop/api:80"),
    case("both, without rules", API + "policyTypes: [Ingress, Egress]",
         yes="shop/web bank/web:8081", no="bank/web shop/api:80, shop/api shop/web:8080"),
    case("ingress rules count for nothing where only Egress is named", API + "policyTypes: [Egress]\ningress: [{}]",
         yes="bank/web shop/api:80", no="shop/api shop/web:8080"),
    case("an empty list of policyTypes is the default", API + "policyTypes: []\negress: [{}]",
         yes="shop/api bank/web:8081", no="bank/web shop/api:80"),
    case("both ends must let it pass", API + "ingress: [{}]", "bank:\n" + WEB + "policyTypes: [Egress]",
         yes="bank/pay shop/api:80", no="bank/web shop/api:80"),
    case("default deny of all ingress", ALL + "policyTypes: [Ingress]", yes="shop/web bank/web:8081",
         no="shop/web shop/api:80, bank/web shop/api:80, shop/api shop/db:5432"),
    case("default deny of all egress", ALL + "policyTypes: [Egress]",
         yes="bank/web shop/web:8080", no="shop/web shop/api:80, shop/db 203.0.113.7:443"),
    case("allow all ingress", ALL + "policyTypes: [Ingress]\ningress: [{}]", yes="bank/web shop/api:80, 203.0.113.7 shop/web:9090"),
    case("allow all egress", ALL + "policyTypes: [Egress]\negress: [{}]", yes="shop/web bank/web:8081, shop/web 203.0.113.7:443"),
    # -- they add up
    case("rules of two policies add up", API + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
         API + "ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]",
         yes="shop/web shop/api:80, shop/db shop/api:80", no="bank/web shop/api:80"),
    case("one that allows all wins over one that lists nothing", API, API + "ingress: [{}]",
         yes="bank/web shop/api:80, 203.0.113.7 shop/api:443"),
    case("deny all, and one exception", ALL, API + "ingress: [{from: [{podSelector: {}}]}]",
         yes="shop/web shop/api:80, shop/db shop/api:80", no="bank/web shop/api:80, shop/api shop/web:8080"),
    case("rules of one policy add up",
         API + "ingress:\n- from: [{podSelector: {matchLabels: {app: web}}}]\n  ports: [{port: 80}]\n- ports: [{port: 443}]",
         yes="shop/web shop/api:80, bank/web shop/api:443", no="bank/web shop/api:80, shop/web shop/api:9000"),
    case("an ingress policy and an egress policy do not mix", API + "ingress: [{}]", API + "policyTypes: [Egress]",
         yes="bank/web shop/api:80", no="shop/api bank/web:8081"),
    # -- selectors of the isolated pods
    case("matchLabels: all must hold", "podSelector: {matchLabels: {app: api, tier: front}}\n", yes="bank/web shop/api:80"),
    case("matchExpressions In", "podSelector: {matchExpressions: [{key: app, operator: In, values: [api, db]}]}\n",
         yes="bank/web shop/web:8080", no="bank/web shop/api:80, bank/web shop/db:5432"),
    case("matchExpressions NotIn", "podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [api, db]}]}\n",
         yes="bank/web shop/api:80", no="bank/web shop/web:8080"),
    case("NotIn selects who has no such label", "bank:\npodSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [front]}]}\n",
         yes="shop/web bank/web:8081", no="shop/web bank/pay:80"),
    case("Exists", "bank:\npodSelector: {matchExpressions: [{key: tier, operator: Exists}]}\n",
         yes="shop/web bank/pay:80", no="shop/web bank/web:8081"),
    case("DoesNotExist", "bank:\npodSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}\n",
         yes="shop/web bank/web:8081", no="shop/web bank/pay:80"),
    case("labels and expressions together",
         "podSelector: {matchLabels: {tier: back}, matchExpressions: [{key: app, operator: NotIn, values: [db]}]}\n",
         yes="bank/web shop/db:5432", no="bank/web shop/api:80"),
    # -- the other end by selectors
    case("podSelector alone: of the policy's namespace", API + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
         yes="shop/web shop/api:80", no="bank/web shop/api:80, void/web shop/api:80, shop/db shop/api:80"),
    case("an empty podSelector: all of the namespace, nobody else", API + "ingress: [{from: [{podSelector: {}}]}]",
         yes="shop/web shop/api:80, shop/db shop/api:80", no="bank/web shop/api:80, 203.0.113.7 shop/api:80"),
    case("namespaceSelector alone: all pods there", API + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]",
         yes="bank/web shop/api:80, bank/pay shop/api:80", no="shop/web shop/api:80, void/web shop/api:80"),
    case("an empty namespaceSelector: every pod, no address besides", API + "ingress: [{from: [{namespaceSelector: {}}]}]",
         yes="bank/web shop/api:80, void/web shop/api:80, shop/db shop/api:80", no="203.0.113.7 shop/api:80, 10.0.1.4 shop/api:80"),
    case("both in one item: AND",
         API + "ingress: [{from: [{namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {app: web}}}]}]",
         yes="shop/web shop/api:80, bank/web shop/api:80", no="bank/pay shop/api:80, void/web shop/api:80, shop/db shop/api:80"),
    case("in two items: OR",
         API + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: web}}}]}]",
         yes="shop/web shop/api:80, bank/web shop/api:80, bank/pay shop/api:80", no="shop/db shop/api:80, void/web shop/api:80"),
    case("a namespace by its name", API + "ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: void}}}]}]",
         yes="void/web shop/api:80", no="bank/web shop/api:80, shop/web shop/api:80"),
    case("namespaces by name, several", API + "ingress: [{from: [{namespaceSelector: {matchExpressions: "
         "[{key: kubernetes.io/metadata.name, operator: In, values: [void, bank, none]}]}}]}]",
         yes="void/web shop/api:80, bank/web shop/api:80", no="shop/web shop/api:80"),
    case("every namespace but one", API + "ingress: [{from: [{namespaceSelector: {matchExpressions: "
         "[{key: kubernetes.io/metadata.name, operator: NotIn, values: [void]}]}}]}]",
         yes="shop/web shop/api:80, bank/web shop/api:80", no="void/web shop/api:80"),
    case("namespaces without a label",
         API + "ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: env, operator: DoesNotExist}]}}]}]",
         yes="void/web shop/api:80", no="bank/web shop/api:80, shop/web shop/api:80"),
    case("a selector that chooses nobody lets nobody", API + "ingress: [{from: [{podSelector: {matchLabels: {app: nobody}}}]}]",
         no="shop/web shop/api:80, 203.0.113.7 shop/api:80"),
    case("no from: everybody", API + "ingress: [{ports: [{port: 80}]}]",
         yes="bank/web shop/api:80, 203.0.113.7 shop/api:80", no="bank/web shop/api:443"),
    case("an empty from: everybody", API + "ingress: [{from: [], ports: [{port: 80}]}]",
         yes="203.0.113.7 shop/api:80", no="203.0.113.7 shop/api:81"),
    case("egress to pods", ALL + "policyTypes: [Egress]\negress: [{to: [{podSelector: {matchLabels: {tier: back}}}]}]",
         yes="shop/web shop/api:80, shop/web shop/db:5432", no="shop/api shop/web:8080, shop/web bank/web:8081, shop/web 203.0.113.7:443"),
    case("egress to a namespace", ALL + "policyTypes: [Egress]\negress: [{to: [{namespaceSelector: {matchLabels: {team: b}}}]}]",
         yes="shop/web bank/pay:80, shop/web fd00::2:2:80", no="shop/web shop/api:80, shop/web void/web:8082"),
    case("egress, no to: everybody", ALL + "policyTypes: [Egress]\negress: [{ports: [{port: 443}]}]",
         yes="shop/web 203.0.113.7:443, shop/web bank/web:443", no="shop/web bank/web:8081"),
    case("egress, an empty to: everybody", ALL + "policyTypes: [Egress]\negress: [{to: []}]",
         yes="shop/web 203.0.113.7:443, shop/web bank/web:8081"),
    # -- the other end by address
    case("ipBlock", API + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]",
         yes="203.0.113.7 shop/api:80, 203.0.113.200 shop/api:9", no="198.51.100.9 shop/api:80, shop/web shop/api:80"),
    case("ipBlock with except", API + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}]}]",
         yes="203.0.113.7 shop/api:80", no="203.0.113.200 shop/api:80"),
    case("several exceptions", API + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.7/32, 203.0.113.192/26]}}]}]",
         yes="203.0.113.8 shop/api:80", no="203.0.113.7 shop/api:80, 203.0.113.200 shop/api:80"),
    case("what one item excepts another may list", API + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}, "
         "{ipBlock: {cidr: 203.0.113.200/32}}]}]", yes="203.0.113.200 shop/api:80", no="203.0.113.201 shop/api:80"),
    case("an ipBlock of IPv6", API + "ingress: [{from: [{ipBlock: {cidr: '2001:db8::/64', except: ['2001:db8::8/125']}}]}]",
         yes="2001:db8::7 shop/api:80", no="2001:db8::9 shop/api:80, 203.0.113.7 shop/api:80"),
    case("all of IPv4 is not all of IPv6", API + "ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]",
         yes="203.0.113.7 shop/api:80, bank/web shop/api:80", no="2001:db8::7 shop/api:80"),
    case("bits behind the prefix count for nothing", API + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.77/24}}]}]",
         yes="203.0.113.7 shop/api:80"),
    case("an ipBlock holds for pods' addresses", API + "ingress: [{from: [{ipBlock: {cidr: 10.0.2.0/24}}]}]",
         yes="bank/web shop/api:80, bank/pay shop/api:80", no="void/web shop/api:80"),
    case("egress to an ipBlock", API + "policyTypes: [Egress]\negress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}]}]",
         yes="shop/api 203.0.113.7:5432, bank/web shop/api:80", no="shop/api 198.51.100.9:443, shop/api bank/web:8081"),
    case("egress to the world but not to the cluster",
         API + "policyTypes: [Egress]\negress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]",
         yes="shop/api 198.51.100.9:443", no="shop/api shop/web:8080, shop/api bank/pay:80, shop/api 2001:db8::7:443"),
    case("an address, or pods", API + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.7/32}}, {podSelector: {matchLabels: {app: web}}}]}]",
         yes="203.0.113.7 shop/api:80, shop/web shop/api:80", no="203.0.113.200 shop/api:80, bank/web shop/api:80"),
    # -- ports
    case("a port by number", API + "ingress: [{ports: [{protocol: TCP, port: 80}]}]",
         yes="bank/web shop/api:80", no="bank/web shop/api:8080"),
    case("an absent protocol is TCP", API + "ingress: [{ports: [{port: 80}]}]", yes="bank/web shop/api:80", no="bank/web shop/api:53"),
    case("no ports: every port", API + "ingress: [{from: [{podSelector: {}}]}]", yes="shop/web shop/api:32000", no="bank/web shop/api:80"),
    case("an empty list of ports: every port", API + "ingress: [{from: [{podSelector: {}}], ports: []}]", yes="shop/web shop/api:32000"),
    case("a protocol without a port: all of its ports", API + "ingress: [{ports: [{protocol: TCP}]}]",
         yes="bank/web shop/api:32000, bank/web shop/api:1"),
    case("an item of UDP lists no TCP port", API + "ingress: [{ports: [{protocol: UDP, port: 53}]}]",
         no="bank/web shop/api:53, bank/web shop/api:80"),
    case("nor does all of UDP", API + "ingress: [{ports: [{protocol: UDP}]}]", no="bank/web shop/api:53, bank/web shop/api:80"),
    case("nor does SCTP", API + "ingress: [{ports: [{protocol: SCTP, port: 80}]}]", no="bank/web shop/api:80"),
    case("TCP beside UDP", API + "ingress: [{ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 443}]}]",
         yes="bank/web shop/api:443", no="bank/web shop/api:53"),
    case("a range", API + "ingress: [{ports: [{port: 32000, endPort: 32768}]}]",
         yes="bank/web shop/api:32000, bank/web shop/api:32768", no="bank/web shop/api:31999, bank/web shop/api:32769"),
    case("a range of one port", API + "ingress: [{ports: [{port: 80, endPort: 80}]}]",
         yes="bank/web shop/api:80", no="bank/web shop/api:81"),
    case("several ports", API + "ingress: [{ports: [{port: 80}, {port: 443}]}]",
         yes="bank/web shop/api:80, bank/web shop/api:443", no="bank/web shop/api:9000"),
    case("a port by name, of the pod that is entered", ALL + "ingress: [{ports: [{port: http}]}]",
         yes="bank/web shop/api:80, bank/web shop/web:8080", no="bank/web shop/web:80, bank/web shop/api:8080, bank/web shop/db:80"),
    case("a name that nobody has lists nothing", API + "ingress: [{ports: [{port: grpc}]}]",
         no="bank/web shop/api:80, shop/web shop/api:443"),
    case("a name beside a number", API + "ingress: [{ports: [{port: grpc}, {port: 443}]}]",
         yes="bank/web shop/api:443", no="bank/web shop/api:80"),
    case("the name of a port of UDP lists no TCP port", "bank:\n" + ALL + "ingress: [{ports: [{port: dns}]}]", no="shop/web bank/pay:53"),
    case("a name by UDP lists none either", "bank:\n" + ALL + "ingress: [{ports: [{protocol: UDP, port: http}]}]",
         no="shop/web bank/pay:80"),
    case("egress to a named port: another number for each pod",
         ALL + "policyTypes: [Egress]\negress: [{to: [{namespaceSelector: {}}], ports: [{port: http}]}]",
         yes="shop/web shop/api:80, shop/web bank/web:8081, shop/web void/web:8082, shop/api shop/web:8080, shop/web bank/pay:80",
         no="shop/web bank/web:80, shop/web shop/api:8081, shop/web 203.0.113.7:80, shop/api shop/web:9090"),
    case("egress to a named port of anybody", ALL + "policyTypes: [Egress]\negress: [{ports: [{port: http}]}]",
         yes="shop/web bank/web:8081, shop/web shop/api:80", no="shop/web 203.0.113.7:80, shop/web shop/db:5432, shop/web bank/web:80"),
    case("egress to a named port within a block",
         ALL + "policyTypes: [Egress]\negress: [{to: [{ipBlock: {cidr: 10.0.2.0/24}}], ports: [{port: http}]}]",
         yes="shop/web bank/web:8081, shop/web bank/pay:80", no="shop/web shop/api:80, shop/web bank/web:80, shop/web bank/pay:8081"),
    case("egress to several names and a number",
         ALL + "policyTypes: [Egress]\negress: [{to: [{podSelector: {}}], ports: [{port: http}, {port: metrics}, {port: 5432}]}]",
         yes="shop/api shop/web:8080, shop/api shop/web:9090, shop/api shop/db:5432, shop/api shop/web:5432",
         no="shop/web shop/api:9090, shop/web bank/web:8081"),
    case("egress to a range",
         API + "policyTypes: [Egress]\negress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 8000, endPort: 9000}]}]",
         yes="shop/api 203.0.113.7:8080", no="shop/api 203.0.113.7:443, shop/api 203.0.113.7:9001"),
    # -- who is nobody
    case("a pod that has ended is nobody", API + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]",
         yes="shop/web shop/api:80", no="10.0.1.4 shop/api:80"),
    case("nor does a selector choose a pod in the node's network", API + "ingress: [{from: [{namespaceSelector: {}}]}]",
         no="10.9.0.1 shop/api:80"),
    case("which an ipBlock may hold", API + "ingress: [{from: [{ipBlock: {cidr: 10.9.0.0/16}}]}]",
         yes="10.9.0.1 shop/api:80", no="shop/web shop/api:80"),
    case("a pod in the node's network is not isolated", WEB + "policyTypes: [Ingress, Egress]",
         yes="10.9.0.1 203.0.113.7:443", no="shop/web 203.0.113.7:443"),
    case("each address of a pod", "bank:\npodSelector: {matchLabels: {app: pay}}\ningress: [{from: [{podSelector: {}}]}]",
         yes="bank/web bank/pay:80, bank/web fd00::2:2:80", no="shop/web bank/pay:80, shop/web fd00::2:2:80"),
    # -- the documentation's own
    case("the page's first example", "podSelector: {matchLabels: {app: db}}\npolicyTypes: [Ingress, Egress]\n"
         "ingress:\n- from:\n  - ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}\n  - namespaceSelector: {matchLabels: {team: b}}\n"
         "  - podSelector: {matchLabels: {tier: front}}\n  ports: [{protocol: TCP, port: 5432}]\n"
         "egress:\n- to: [{ipBlock: {cidr: 10.0.3.0/24}}]\n  ports: [{protocol: TCP, port: 5978}]\n",
         yes="172.17.0.1 shop/db:5432, bank/pay shop/db:5432, shop/web shop/db:5432, shop/db void/web:5978",
         no="172.17.1.1 shop/db:5432, shop/api shop/db:5432, shop/web shop/db:80, shop/db void/web:8082, void/web shop/db:5432"),
)

# A spec that an API server refuses, the pods of shop that it may mean, and a part of what is told.
OF_API = {"podSelector": {"matchLabels": {"app": "api"}}}
UNREADABLE: list[tuple[Any, str, str]] = [
    ({**OF_API, "ingress": [{"from": [{}]}]}, "api", "spec.ingress[0].from[0]: an empty item"),
    ({**OF_API, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]}, "api", "is no range"),
    ({**OF_API, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}, "api", "lies not within"),
    ({**OF_API, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}, "api", "stands alone"),
    ({**OF_API, "ingress": [{"from": [{"ipBlock": {"cidr": "::ffff:10.0.0.0/104"}}]}]}, "api", "write them as IPv4"),
    ({**OF_API, "ingress": [{"ports": [{"port": "80"}]}]}, "api", "without quotes"),
    ({**OF_API, "ingress": [{"ports": [{"port": 0}]}]}, "api", "ports[0].port"),
    ({**OF_API, "ingress": [{"ports": [{"port": 9, "endPort": 8}]}]}, "api", "8 is before 9"),
    ({**OF_API, "ingress": [{"ports": [{"endPort": 8}]}]}, "api", "a range begins with a number"),
    ({**OF_API, "ingress": [{"ports": [{"protocol": "ICMP"}]}]}, "api", "ICMP"),
    ({**OF_API, "ingress": [{"form": []}]}, "api", 'unknown field "form"'),
    ({**OF_API, "ingress": "all"}, "api", "spec.ingress"),
    ({**OF_API, "ingress": [None]}, "api", "spec.ingress[0]"),
    ({"podSelector": {"matchLabels": {"app": "api"}, "matchExpressions": [{"key": "x", "operator": "In"}]}}, "api", "at least one value"),
    ({"podSelector": {"matchLabels": {"app": "api"}, "matchExpressions": [{"key": "x", "operator": "Near"}]}}, "api", "Near"),
    ({"podSelector": {"matchExpressions": [{"key": "x", "operator": "Exists", "values": ["y"]}]}}, "api db web", "takes no values"),
    ({"podSelector": {"app": "api"}}, "api db web", 'unknown field "app"'),
    ({"podSelector": "api"}, "api db web", "spec.podSelector"),
    ("everything", "api db web", "spec"),
]
