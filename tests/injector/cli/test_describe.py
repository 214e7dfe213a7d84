"""What `describe` prints of a fixed state."""

import argparse
from pathlib import Path

import msgspec
import pytest

from injector.cli.describe import as_text, full_name
from injector.cli.kubectl import Kubectl
from injector.cli.terminal import Paint
from injector.compile.in_force import Rule
from injector.description import Description, EgressView, EndpointView, PodView, PortView, RouteView, ServicePortView, ServiceView
from injector.status import PodStatus

from .conftest import Program

STATUS = PodStatus(
    "shop", "orders-1", "u-1", sidecar="bartizan:0.1.0", should="a", has="a", heard_at=5.0, problems=("the egress: no; twice",))
POD = PodView(
    STATUS, "Deployment orders", "spiffe://example.org/ns/shop/sa/orders", ("10.0.0.1",),
    ports=(PortView(8080, "http", "strict", ("orders.shop:80",)),),
    routes=(
        RouteView("read", 8080, ("GET /orders*", "* /"), ("web.shop",), ("thief.shop",), ("rateLimit",)),
        RouteView("shut", 0, ("* *",), ()),
    ),
    egress=(
        EgressView("api.partner.example", "partners/api", ("http:80 -> TLS 1.2+ :443",)), EgressView("b.example", "p/b", (), "no Secret"),
    ),
    rules=(Rule("bartizan.dev/egress", "nobody.example", "refused", "the egress: no; twice and more"),),
    warnings=("TCP to \x1b[2J passes the sidecar by",), suggestions=("do this",),
)


def text(pod: PodView, now: float = 6.0) -> str:
    return "\n".join(as_text(Description(pod=pod, now=now), Paint()))


def test_network_policies_are_named() -> None:
    told = text(msgspec.structs.replace(POD, isolated_in=("shop/a", "shop/b")))
    assert "refused; who may: bartizan reach FROM TO)\n   what enters is isolated by shop/a, shop/b\n" in told
    assert "what leaves" not in told
    told = text(msgspec.structs.replace(POD, isolated_out=("shop/c",), is_approved_by_them=True))
    assert "   what leaves is isolated by shop/c; what their ipBlocks list is approved thereby\n" in told


def test_a_pod() -> None:
    assert text(POD) == r"""
Pod: orders-1.shop (Deployment orders)
   Sidecar: 0.1.0, native
   Identity: spiffe://example.org/ns/shop/sa/orders   Addresses: 10.0.0.1
   Snapshot: SYNCED: it has the newest
--------------------
Ports:
   8080              http              strict            by orders.shop:80
--------------------
Routes (the most specific that matches decides; what none matches is refused):
   read              :8080 GET /orders*  from web.shop but thief.shop   [rateLimit]
                     :8080 * /
   shut              * *               from nobody
--------------------
Egress (everything else is refused):
   api.partner.example  http:80 -> TLS 1.2+ :443  by partners/api
   b.example         -                 by p/b   NOT REACHED: no Secret
--------------------
Not in force as it is written
   refused: bartizan.dev/egress nobody.example: the egress: no; twice and more
WARNING: TCP to \x1b[2J passes the sidecar by
Suggestion: do this""".lstrip()


@pytest.mark.parametrize(("changed", "words"), [
    ({"routes": (), "without_routes": "mesh"}, "Routes: none declared: any verified workload"),
    ({"routes": (), "without_routes": "nothing"}, "Routes: none declared: nobody may call it"),
    ({"routes": ()}, "none in force: nobody may call it"), ({"egress": ()}, "Egress: nothing is approved"),
    ({"observed_until": 1893456000.0}, "observed until 2030-01-01T00:00:00Z"),
    ({"status": msgspec.structs.replace(STATUS, heard_at=0.0)}, "Snapshot: NEVER"),
    ({"status": msgspec.structs.replace(STATUS, has="b")}, "Snapshot: STALE: it has an older one"),
    ({"status": msgspec.structs.replace(STATUS, has="")}, "Snapshot: NEVER: it has none yet"),
    ({"status": msgspec.structs.replace(STATUS, has="b", refused="why")}, "Snapshot: STALE: its sidecar does not take the newest: why"),
    ({"status": msgspec.structs.replace(STATUS, problems=("another",))}, "   another"),
])
def test_what_is_said_where_it_is_otherwise(changed: dict[str, object], words: str) -> None:
    assert words in text(msgspec.structs.replace(POD, **changed))
    assert words not in text(POD)


def test_one_that_has_gone_silent_is_no_better_here_than_in_status() -> None:
    assert "Snapshot: STALE: it had the newest when it was last heard of, 10m ago" in text(POD, now=5.0 + 600)


def test_a_pod_without_sidecar() -> None:
    bare = PodView(PodStatus("shop", "bare", "u-2"), "", warnings=("it has no sidecar: why",))
    assert text(bare) == "Pod: bare.shop\nWARNING: it has no sidecar: why"


def test_a_service() -> None:
    service = ServiceView(
        "shop", "orders", (), (ServicePortView(80, "http", (EndpointView("fd00::1", 8080, "spiffe://x"),), ("read",)),),
        {"bare": False, "orders-1": True}, ("they differ",), ("without sidecar: bare",))
    assert list(as_text(Description(service=service), Paint())) == [
        "Service: orders.shop   headless", "--------------------", "Port 80 (http)", "   [fd00::1]:8080  spiffe://x",
        "   callers carry out: read", "Pods:", "   bare  without sidecar", "   orders-1", "WARNING: they differ",
        "WARNING: without sidecar: bare", "Suggestion: who may call it: bartizan describe pod orders-1 -n shop",
    ]


@pytest.mark.parametrize(("kind", "name", "namespace", "full"), [
    ("", "web", "shop", "shop/web"), ("svc", "web", "shop", "shop/svc/web"), ("", "svc/web", "shop", "shop/svc/web"),
    ("", "bank/web", "shop", "bank/web"), ("", "web", "", "mine/web"),
])
def test_how_it_may_be_named(kind: str, name: str, namespace: str, full: str, program: Program, tmp_path: Path) -> None:
    program("printf mine")
    args = argparse.Namespace(namespace="", all_namespaces=False)
    assert full_name(kind, name, namespace, Kubectl(), args) == full
