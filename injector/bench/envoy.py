"""Envoy's configuration: one listener, one cluster, what a mesh would switch on and nothing else.

As a mesh has it: one listener for all that the packet rules bring, which finds its filter chain by the port that was meant.
"""

import json
from collections.abc import Sequence
from typing import Any

from .layout import ADDRESS, CLIENT, ORIGIN, OUTSIDE, SERVER, Job, Place

_TYPE = "type.googleapis.com/envoy.extensions"
_LOG_FIELDS = {
    "time": "%START_TIME%", "direction": "inbound", "dst": "%DOWNSTREAM_LOCAL_ADDRESS%", "security": "mtls",
    "tls": "%DOWNSTREAM_TLS_VERSION%", "peer": "%DOWNSTREAM_PEER_URI_SAN%", "source": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "connection": "%CONNECTION_ID%", "method": "%REQ(:METHOD)%", "host": "%REQ(:AUTHORITY)%", "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "rule": "%ROUTE_NAME%", "upstream": "%UPSTREAM_HOST%",
    "request_id": "%REQ(X-REQUEST-ID)%", "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%", "duration_ms": "%DURATION%",
}
TLS13 = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3", "ecdh_curves": ["X25519"]}


def envoy_config(job: Job, place: Place) -> str:
    chain: dict[str, Any] = {
        "filters": _tcp(job) if job.is_tcp else [_http(job)], "filter_chain_match": {"destination_port": job.asked_at[1]}}
    if job.has_mtls:
        chain["transport_socket"] = downstream_tls(
            require_client_certificate=True,
            common_tls_context={"tls_params": TLS13, "tls_certificates": certificate(place, "server"), "validation_context": _trust(place)})
    host = {"origination": OUTSIDE, "call": ADDRESS["mesh"]}.get(job.kind, place.address)
    cluster = cluster_of(host, ORIGIN[job.kind])
    if job.kind == "origination":
        cluster["transport_socket"] = _originated(job, place)
    if job.kind == "call":
        cluster["transport_socket"] = to_pod(place)
    if job.kind == "http2":
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}},
        }}
    redirected = filter_of("envoy.filters.listener.original_dst", "filters.listener.original_dst.v3.OriginalDst")
    return static(job, [chain], cluster, [redirected])


def static(job: Job, chains: list[dict[str, Any]], cluster: dict[str, Any], first: Sequence[dict[str, Any]] = ()) -> str:
    """
    Args:
        first: filters that look at a connection before its chain is found.
    """
    listener = {"name": "in", "address": _address("0.0.0.0", job.listen), "listener_filters": list(first), "filter_chains": chains}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


def cluster_of(host: str, port: int) -> dict[str, Any]:
    return {
        "name": "app", "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}]},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def filter_of(name: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_TYPE}.{kind}", **settings}}


def _access_log() -> list[dict[str, Any]]:
    return [filter_of("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", path="/dev/null",
                    log_format={"json_format": _LOG_FIELDS})]


def _only_client() -> dict[str, Any]:
    principal = {"authenticated": {"principal_name": {"exact": CLIENT}}}
    return {"policies": {"caller": {"permissions": [{"any": True}], "principals": [principal]}}}


def _tcp(job: Job) -> list[dict[str, Any]]:
    """Who calls is judged once for a connection."""
    judge = filter_of("envoy.filters.network.rbac", "filters.network.rbac.v3.RBAC", stat_prefix="in", rules=_only_client())
    proxy = filter_of("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", stat_prefix="in", cluster="app",
                      access_log=_access_log())
    return [judge, proxy] if job.has_mtls else [proxy]


def _http(job: Job) -> dict[str, Any]:
    filters: list[dict[str, Any]] = []
    settings: dict[str, Any] = {"codec_type": "HTTP2" if job.kind == "http2" else "HTTP1"}
    if job.kind not in ("call", "origination"):     # what comes from without says nothing of itself that counts
        settings["use_remote_address"] = True
    if job.has_mtls:    # who calls is judged for each request, and the application is told
        filters.append(filter_of("envoy.filters.http.rbac", "filters.http.rbac.v3.RBAC", rules=_only_client()))
        settings["forward_client_cert_details"] = "SANITIZE_SET"
        settings["set_current_client_cert_details"] = {"uri": True}
    routes = [{"name": f"r{number}", "match": {"path_separated_prefix": prefix}, "route": {"cluster": "app"}}
              for number, prefix in enumerate(job.prefixes)]
    everything = [{"name": "all", "match": {"prefix": "/"}, "route": {"cluster": "app"}}]
    hosts: list[dict[str, Any]] = [{"name": "app", "domains": ["*"], "routes": routes or everything}]
    if job.kind == "origination":       # hosts that are not listed are answered with 404
        hosts = [{"name": name, "domains": [name], "routes": everything} for name in job.names]
    return connection_manager(hosts, *filters, **settings)


def connection_manager(hosts: list[dict[str, Any]], *filters: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return filter_of(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in", access_log=_access_log(),
        # What it says of itself nobody asked for: the same headers as everybody else's.
        http_filters=[*filters, filter_of("envoy.filters.http.router", "filters.http.router.v3.Router", suppress_envoy_headers=True)],
        server_header_transformation="PASS_THROUGH", route_config={"virtual_hosts": hosts},
        **settings,
    )


def certificate(place: Place, name: str) -> list[dict[str, Any]]:
    return [{"certificate_chain": {"filename": str(place.certificates / f"{name}.pem")},
             "private_key": {"filename": str(place.certificates / f"{name}.key")}}]


def _trust(place: Place, kind: str = "", name: str = "") -> dict[str, Any]:
    """
    Args:
        kind, name: of what the certificate must say; "": any that the mesh's root vouches for.
    """
    trusted = {"trusted_ca": {"filename": str(place.certificates / "roots.pem")}}
    return trusted | ({"match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": name}}]} if kind else {})


def downstream_tls(**settings: Any) -> dict[str, Any]:
    return filter_of("envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext",
                     disable_stateless_session_resumption=True, disable_stateful_session_resumption=True, **settings)


def to_pod(place: Place) -> dict[str, Any]:
    """mTLS towards a pod of the mesh, whose identity is verified."""
    return filter_of("envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context={
        "tls_params": TLS13, "tls_certificates": certificate(place, "client"), "alpn_protocols": ["http/1.1"],
        "validation_context": _trust(place, "URI", SERVER)})


def _originated(job: Job, place: Place) -> dict[str, Any]:
    """Towards the host that is asked for: chain and name are verified."""
    name = job.names[-1]
    # Envoy's clients stop at 1.2 unless they are told.
    versions = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
    return filter_of("envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", sni=name, common_tls_context={
        "tls_params": versions, "alpn_protocols": ["http/1.1"], "validation_context": _trust(place, "DNS", name)})
