"""HAProxy, as a proxy and as the one who speaks TLS for a load generator that cannot."""

import json
from collections.abc import Mapping

from .layout import ADDRESS, ALPN, ALPN_TCP, ORIGIN, ORIGINATOR, ORIGINATOR_NEW, ORIGINATOR_TCP, OUTSIDE, Job, Place

# Of the peer it knows the certificate's hash; names that are URIs it cannot read.
_FIELDS = {
    "time": "%T", "direction": "inbound", "dst": "%fi:%fp", "tls": "%sslv", "source": "%ci:%cp", "connection": "%lc", "method": "%HM",
    "host": "%[var(txn.host),json(utf8s)]", "path": "%[var(txn.path),json(utf8s)]", "status": "%ST", "flags": "%tsc", "rule": "%b",
    "upstream": "%si:%sp", "request_id": "%ID", "received": "%U", "sent": "%B", "duration_ms": "%Ta",
}
_OF_HTTP = {"tls", "method", "host", "path", "status", "request_id"}


def _log(fields: Mapping[str, str]) -> str:
    return f"    log global\n    log-format '{json.dumps(fields)}'\n"


LOG_HTTP = _log(_FIELDS)
LOG_TCP = _log({name: value for name, value in _FIELDS.items() if name not in _OF_HTTP} | {"duration_ms": "%Tt"})
LOGGED = """    unique-id-format %[uuid()]
    http-request set-var(txn.host) req.hdr(host)
    http-request set-var(txn.path) path
"""


def around(mode: str, more: str, *, threads: int = 1) -> str:
    """
    Args:
        more: what stands behind the defaults.
    """
    return f"""global
    nbthread {threads}
    maxconn 4096
    tune.ssl.cachesize 0
    log stdout format raw daemon
defaults
    mode {mode}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
{more}"""


def haproxy_config(job: Job, place: Place) -> str:
    """As a proxy. `place.folder` holds `prefixes.lst` with a line for each route if the job has routes, and `hosts.lst`."""
    tls = f" ssl crt {place.certificates}/server.both.pem {_verifying(place)} curves X25519 no-tls-tickets" if job.has_mtls else ""
    if job.is_tcp:
        return around("tcp", f"""{LOG_TCP}    option splice-auto
listen in
    bind *:{job.listen}{tls}
    server app {place.address}:{ORIGIN[job.kind]}
""")
    only = f"    http-request deny unless {{ path_beg -f {place.folder}/prefixes.lst }}\n" if job.routes else ""
    if job.kind == "origination":
        only = f"    http-request deny unless {{ req.hdr(host),lower -f {place.folder}/hosts.lst }}\n"
    return around("http", f"""{LOG_HTTP}    http-reuse always
frontend in
    bind *:{job.listen}{tls}{" proto h2" if job.kind == "http2" else ""}
{LOGGED}{only}{_told(job)}    default_backend app
backend app
    server app {_upstream(job, place)}
""")


def _told(job: Job) -> str:
    """What the next one is told of the caller: the application all of it, another sidecar the ID, a host outside nothing."""
    told = []
    if job.kind != "origination":
        told.append("x-request-id %[unique-id]")
    if job.kind not in ("call", "origination"):
        told += [f"x-forwarded-proto {'https' if job.has_mtls else 'http'}", "x-forwarded-for %[src]"]
    if job.has_mtls:
        told.append("x-forwarded-client-cert Hash=%[ssl_c_der,sha2(256),hex]")
    return "".join(f"    http-request set-header {one}\n" for one in told)


def _upstream(job: Job, place: Place) -> str:
    if job.kind == "call":
        return f"{ADDRESS['mesh']}:{ORIGIN[job.kind]} {towards_pod(place)}"
    if job.kind == "origination":
        name = job.names[-1]
        return f"{OUTSIDE}:{ORIGIN[job.kind]} ssl ca-file {place.certificates}/roots.pem verify required sni str({name}) verifyhost {name}"
    return f"{place.address}:{ORIGIN[job.kind]}{' proto h2' if job.kind == 'http2' else ''}"


def _verifying(place: Place) -> str:
    return f"ca-file {place.certificates}/roots.pem verify required ssl-min-ver TLSv1.3"


def towards_pod(place: Place, alpn: str = f"{ALPN},http/1.1", proto: str = " proto h1") -> str:
    """mTLS, whose other end must have a certificate of the mesh: an SVID has no host name, and none is asked for."""
    # nginx refuses a client that offers nothing it knows.
    return f"ssl crt {place.certificates}/client.both.pem {_verifying(place)} alpn {alpn}{proto}"


def originator_config(host: str, port: int, place: Place) -> str:
    """Plaintext from the load generator, mTLS with a client certificate to `host`; it demands of the server what a sidecar would."""
    server, suite = f"server proxy {host}:{port}", "ciphersuites TLS_AES_128_GCM_SHA256 no-ssl-reuse"
    return around("http", f"""
frontend keeping
    bind 127.0.0.1:{ORIGINATOR}
    default_backend kept
backend kept
    http-reuse always
    {server} {towards_pod(place)} {suite}
frontend opening
    bind 127.0.0.1:{ORIGINATOR_NEW}
    default_backend new
backend new
    option http-server-close
    http-reuse never
    {server} {towards_pod(place)} {suite} pool-max-conn 0
listen tcp
    mode tcp
    bind 127.0.0.1:{ORIGINATOR_TCP}
    {server} {towards_pod(place, ALPN_TCP, "")} {suite}
""")
