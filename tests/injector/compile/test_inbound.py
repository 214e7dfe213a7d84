from typing import Any

from injector.cluster import Cluster
from injector.compile.inbound import port_protocols, unknown_issuers
from injector.documents import RouteRule, TokenIssuer
from sidecar.model.route import Jwt


def test_issuers_that_nobody_names() -> None:
    rules = [RouteRule(name, (), jwt=Jwt(f"https://{name}", ("shop",))) for name in ("a", "b")] + [RouteRule("c", ())]
    assert ["https://b" in text for text in unknown_issuers(rules, [TokenIssuer("https://a")])] == [True]


def test_the_protocols_of_ports() -> None:
    pod: dict[str, Any] = {
        "kind": "Pod", "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "x"}},
        "spec": {"containers": [{"ports": [{"containerPort": port} for port in (5432, 3306, 8080)]}]},
    }
    service = {"kind": "Service", "metadata": {"name": "s", "namespace": "shop"},
               "spec": {"selector": {"app": "x"}, "ports": [{"port": port, "appProtocol": said} for port, said in
                                                          ((3306, "http"), (8080, "grpc"), (443, "https"))]}}
    cluster = Cluster.of([pod, service])
    assert port_protocols(cluster.pods["shop", "p"], {8080: "http1"}, cluster) == {
        443: "app-tls", 3306: "http", 5432: "opaque", 8080: "http1",
    }
