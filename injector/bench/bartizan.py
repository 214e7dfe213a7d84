"""Bartizan's own configuration: what an injected pod has, with everything on."""

import json
from typing import Any

from sidecar.model.egress import EgressHost, Origination, Outbound
from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.service import Endpoint, Service
from sidecar.model.snapshot import Inbound, Snapshot, Workload, render_snapshot

from .layout import ADDRESS, CLIENT, GATEWAY, ORIGIN, PLAIN_PORT, SERVER, SERVICE, Job, Place

_NEVER = 4102444800.0   # 2100-01-01


def bartizan_snapshot(job: Job, place: Place) -> bytes:
    """Plaintext is let in where there is no TLS; with it, only the client's identity is."""
    allow = (Caller(namespace="bench", service_account="client"),)
    routes = tuple(Route(f"r{number}", allow, matches=(Match(PathMatch(prefix)),)) for number, prefix in enumerate(job.prefixes))
    tls = Origination(roots=(place.certificates / "roots.pem").read_text()) if job.kind == "origination" else None
    hosts = tuple(EgressHost(name, f"partners/{name}", tls=tls) for name in job.names) if tls else ()
    pod = Service("app.bench", PLAIN_PORT, (SERVICE,), "http1", (Endpoint(ADDRESS["mesh"], ORIGIN["call"], SERVER),))
    return render_snapshot(Snapshot(
        Workload(CLIENT if job.kind == "call" else SERVER, "bench", addresses=(place.address,)),
        inbound=Inbound(
            mode="strict" if job.has_mtls else "permissive",
            permissive_until=None if job.has_mtls else _NEVER,
            routes=routes or (Route("all", allow),),
            ports={ORIGIN["http1"]: "http", ORIGIN["http2"]: "http", ORIGIN["tcp"]: "opaque"},
        ),
        outbound=Outbound(hosts=hosts, services=(pod,) if job.kind == "call" else (), resolvers=(GATEWAY["mesh"],)),
    ))


def bartizan_config(job: Job, place: Place, snapshot: str) -> str:
    return json.dumps(files_config(place, "client" if job.kind == "call" else "server", snapshot))


def files_config(place: Place, name: str, snapshot: str) -> dict[str, Any]:
    """Of a process with the certificate of this name."""
    certificates = place.certificates
    return {
        "adminSocket": str(place.folder / "admin.sock"),
        "snapshot": {"source": "file", "path": snapshot},
        "identity": {"source": "files", "chainFile": str(certificates / f"{name}.pem"), "keyFile": str(certificates / f"{name}.key"),
                     "rootsFile": str(certificates / "roots.pem")},
        "ledger": {"folder": str(place.folder / "ledger")},
    }
