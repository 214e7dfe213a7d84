"""The proxies as gateways: TLS 1.3 with clients, one of many hosts chosen, mTLS to a pod; and what answers there in the pod's place.

The pod's end has an SVID, which names no host. nginx verifies names of hosts only, so it is given a certificate with one, at another port.
"""

import json
from typing import Any

from sidecar.model.edge import Edge, EdgeListener, EdgeRoute, TlsHost
from sidecar.model.egress import Outbound
from sidecar.model.route import Caller, Match, PathMatch
from sidecar.model.service import Backend, Endpoint, Service
from sidecar.model.snapshot import Snapshot, Workload, render_snapshot

from . import haproxy, nginx
from .bartizan import files_config
from .envoy import TLS13, certificate, cluster_of, connection_manager, downstream_tls, static, to_pod
from .layout import ALPN, ANSWER_BYTES, CLIENT, CLIENT_PORT, ENDPOINT, LISTEN, SERVER, Job, Place

SVID_PORT, NAMED_PORT = 8443, 8444
SNAPSHOT = "snapshot.json"


def endpoint_config(place: Place) -> str:
    """HAProxy: short answers for whoever has a certificate of the mesh."""
    answer = place.write("answer", "x" * ANSWER_BYTES)
    certificates = place.certificates
    tls = f"ca-file {certificates}/roots.pem verify required ssl-min-ver TLSv1.3 curves X25519 no-tls-tickets alpn {ALPN},http/1.1 proto h1"
    return haproxy.around("http", f"""
frontend pod
    bind {ENDPOINT}:{SVID_PORT} ssl crt {certificates}/server.both.pem {tls}
    bind {ENDPOINT}:{NAMED_PORT} ssl crt {certificates}/outside.both.pem {tls}
    http-request return status 200 content-type text/plain file {answer}
""")


def bartizan_gateway(job: Job, place: Place) -> str:
    """Its configuration; `place.folder` gets the snapshot."""
    snapshot = place.write(SNAPSHOT, gateway_snapshot(job, place))
    return json.dumps({
        **files_config(place, "client", snapshot), "listen": {"edge": {CLIENT_PORT: LISTEN}}, "workers": job.workers,
        "drainAfterS": 0, "drainS": 0,
    })


def gateway_snapshot(job: Job, place: Place) -> bytes:
    """A rule for each host, all of them led to the one pod."""
    backend = "app.bench"
    chain, key = ((place.certificates / f"outside.{kind}").read_text() for kind in ("pem", "key"))
    tls = (TlsHost("bench/web", chain=chain, key=key),)
    routes = tuple(
        EdgeRoute(name=f"ingress/bench/{name}/0/0", allow=(Caller(),), ports=(CLIENT_PORT,), hosts=(name,),
                  matches=(Match(PathMatch("/")),), backends=(Backend(backend, 80),)) for name in job.names)
    service = Service(backend, 80, ("10.96.0.9",), "http1", (Endpoint(ENDPOINT, SVID_PORT, SERVER),))
    return render_snapshot(Snapshot(
        Workload(CLIENT, "bench", addresses=(place.address,)), outbound=Outbound(services=(service,)),
        edge=Edge((EdgeListener(CLIENT_PORT, tls),), routes),
    ))


def nginx_gateway(job: Job, place: Place) -> str:
    certificates = place.certificates
    return nginx.around(place, nginx.LOG_FORMAT + nginx.KEPT + nginx.TOLD + nginx.known_hosts(job) + f"""
    proxy_ssl_certificate {certificates}/client.pem;
    proxy_ssl_certificate_key {certificates}/client.key;
    proxy_ssl_trusted_certificate {certificates}/roots.pem;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 3;
    proxy_ssl_name {job.names[-1]};
    proxy_ssl_protocols TLSv1.3;
    upstream app {{ server {ENDPOINT}:{NAMED_PORT}; keepalive 128; keepalive_requests {nginx.UNENDING}; }}
    server {{
        listen {LISTEN} ssl http2{" reuseport" if job.workers > 1 else ""};
        ssl_certificate {certificates}/outside.pem;
        ssl_certificate_key {certificates}/outside.key;
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve X25519;
        ssl_session_cache off;
        ssl_session_tickets off;
        if ($is_known = 0) {{ return 404; }}
        location / {{ proxy_pass https://app; }}
    }}
""", workers=job.workers)


def haproxy_gateway(job: Job, place: Place) -> str:
    """`place.folder` gets `hosts.lst`."""
    certificates, hosts = place.certificates, place.write("hosts.lst", "".join(f"{name}\n" for name in job.names))
    return haproxy.around("http", f"""{haproxy.LOG_HTTP}    http-reuse always
frontend in
    bind *:{LISTEN} ssl crt {certificates}/outside.both.pem ssl-min-ver TLSv1.3 curves X25519 no-tls-tickets alpn h2,http/1.1
{haproxy.LOGGED}    http-request deny deny_status 404 unless {{ req.hdr(host),lower -f {hosts} }}
    http-request set-header x-request-id %[unique-id]
    http-request set-header x-forwarded-proto https
    http-request set-header x-forwarded-for %[src]
    default_backend app
backend app
    server app {ENDPOINT}:{SVID_PORT} {haproxy.towards_pod(place)}
""", threads=job.workers)


def envoy_gateway(job: Job, place: Place) -> str:
    towards_clients = downstream_tls(common_tls_context={
        "tls_params": TLS13, "tls_certificates": certificate(place, "outside"), "alpn_protocols": ["h2", "http/1.1"]})
    everything = [{"name": "all", "match": {"prefix": "/"}, "route": {"cluster": "app"}}]
    hosts: list[dict[str, Any]] = [{"name": name, "domains": [name], "routes": everything} for name in job.names]
    chain = {"filters": [connection_manager(hosts, codec_type="AUTO", use_remote_address=True)], "transport_socket": towards_clients}
    return static(job, [chain], {**cluster_of(ENDPOINT, SVID_PORT), "transport_socket": to_pod(place)})
