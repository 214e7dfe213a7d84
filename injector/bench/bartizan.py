"""Bartizan's own configuration: what an injected pod has, with everything on."""

import json

from sidecar.model.egress import EgressHost, Origination, Outbound
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.snapshot import Inbound, Snapshot, Workload, render_snapshot

from .layout import BYPASS_MARK, GATEWAY, ORIGIN, SERVER, Job, Place

_NEVER = 4102444800.0   # 2100-01-01


def bartizan_snapshot(job: Job, place: Place) -> bytes:
    """Plaintext is let in where there is no TLS; with it, only the client's identity is."""
    allow = (Caller(namespace="bench", service_account="client"),)
    routes = tuple(Route(f"r{number}", allow, matches=(Match(PathMatch(prefix)),)) for number, prefix in enumerate(job.prefixes))
    is_mtls = job.kind == "http1-mtls"
    tls = Origination(roots=(place.certificates / "roots.pem").read_text()) if job.kind == "origination" else None
    hosts = tuple(EgressHost(name, f"partners/{name}", tls=tls) for name in job.names) if tls else ()
    return render_snapshot(Snapshot(
        Workload(SERVER, "bench", addresses=(place.address,)),
        inbound=Inbound(
            mode="strict" if is_mtls else "permissive",
            permissive_until=None if is_mtls else _NEVER,
            routes=routes or (Route("all", allow),),
            ports={ORIGIN["http1"]: "http", ORIGIN["http2"]: "http", ORIGIN["tcp"]: "opaque"},
        ),
        outbound=Outbound(hosts=hosts, resolvers=(GATEWAY["mesh"],)),
    ))


def bartizan_config(place: Place, snapshot: str) -> str:
    certificates = place.certificates
    return json.dumps({
        "adminSocket": str(place.folder / "admin.sock"),
        "snapshot": {"source": "file", "path": snapshot},
        "identity": {"source": "files", "chainFile": str(certificates / "server.pem"), "keyFile": str(certificates / "server.key"),
                     "rootsFile": str(certificates / "roots.pem")},
        "interception": {"bypassMark": BYPASS_MARK},
        "ledger": {"folder": str(place.folder / "ledger")},
    })
