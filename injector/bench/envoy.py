"""Envoy's configuration: one listener, one cluster, what a mesh would switch on and nothing else."""

import json
from typing import Any

from .layout import CLIENT, LISTEN, ORIGIN, OUTSIDE, Job, Place

_TYPE = "type.googleapis.com/envoy.extensions"
_LOG_FIELDS = {
    "time": "%START_TIME%", "source": "%DOWNSTREAM_REMOTE_ADDRESS%", "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "tls": "%DOWNSTREAM_TLS_VERSION%", "method": "%REQ(:METHOD)%", "host": "%REQ(:AUTHORITY)%", "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "rule": "%ROUTE_NAME%", "upstream": "%UPSTREAM_HOST%",
    "request_id": "%REQ(X-REQUEST-ID)%", "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%", "duration_ms": "%DURATION%",
}


def envoy_config(job: Job, place: Place) -> str:
    chain: dict[str, Any] = {"filters": [_tcp() if job.kind == "tcp" else _http(job)]}
    if job.kind == "http1-mtls":
        chain["transport_socket"] = _tls(place)
    cluster = cluster_of(OUTSIDE if job.kind == "origination" else place.address, ORIGIN[job.kind])
    if job.kind == "origination":
        cluster["transport_socket"] = _originated(job, place)
    if job.kind == "http2":
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}},
        }}
    return static([chain], cluster)


def static(chains: list[dict[str, Any]], cluster: dict[str, Any]) -> str:
    listener = {"name": "in", "address": _address("0.0.0.0", LISTEN), "filter_chains": chains}
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


def _tcp() -> dict[str, Any]:
    return filter_of("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", stat_prefix="in", cluster="app",
                     access_log=_access_log())


def _http(job: Job) -> dict[str, Any]:
    filters: list[dict[str, Any]] = []
    settings: dict[str, Any] = {"codec_type": "HTTP2" if job.kind == "http2" else "HTTP1"}
    if job.kind == "http1-mtls":    # who calls is judged for each request, and the application is told
        principal = {"authenticated": {"principal_name": {"exact": CLIENT}}}
        policies = {"caller": {"permissions": [{"any": True}], "principals": [principal]}}
        filters.append(filter_of("envoy.filters.http.rbac", "filters.http.rbac.v3.RBAC", rules={"policies": policies}))
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
        http_filters=[*filters, filter_of("envoy.filters.http.router", "filters.http.router.v3.Router")],
        route_config={"virtual_hosts": hosts},
        **settings,
    )


def _tls(place: Place) -> dict[str, Any]:
    def file(name: str) -> dict[str, str]:
        return {"filename": str(place.certificates / name)}

    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3",
                       "ecdh_curves": ["X25519"]},
        "tls_certificates": [{"certificate_chain": file("server.pem"), "private_key": file("server.key")}],
        "validation_context": {"trusted_ca": file("roots.pem")},
    }
    return filter_of("envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext",
                     require_client_certificate=True, disable_stateless_session_resumption=True,
                     disable_stateful_session_resumption=True, common_tls_context=common)


def _originated(job: Job, place: Place) -> dict[str, Any]:
    """Towards the host that is asked for: chain and name are verified."""
    name = job.names[-1]
    common = {
        # Envoy's clients stop at 1.2 unless they are told.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["http/1.1"],
        "validation_context": {
            "trusted_ca": {"filename": str(place.certificates / "roots.pem")},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": name}}],
        },
    }
    return filter_of("envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", sni=name, common_tls_context=common)
