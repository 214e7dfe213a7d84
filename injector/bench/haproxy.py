"""HAProxy, as a proxy and as the one who speaks TLS for a load generator that cannot."""

from .errors import NotAvailable
from .layout import ALPN, LISTEN, ORIGIN, ORIGINATOR, ORIGINATOR_NEW, Job, Place


def around(mode: str, more: str, *, threads: int = 1, keeps_sessions: bool = True) -> str:
    """
    Args:
        more: what stands behind the defaults.
        keeps_sessions: of TLS, so that they could be resumed.
    """
    cache = "" if keeps_sessions else "\n    tune.ssl.cachesize 0"
    return f"""global
    nbthread {threads}
    maxconn 4096
    log stdout format raw daemon{cache}
defaults
    mode {mode}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
{more}"""


def haproxy_config(job: Job, place: Place) -> str:
    """As a proxy. `place.folder` holds `prefixes.lst` with a line for each route if the job has routes. NotAvailable for what is not
    compared."""
    if job.kind == "origination":
        raise NotAvailable("not set up to originate")
    if job.kind == "tcp":
        return around("tcp", f"""    log global
    option tcplog
    option splice-auto
listen in
    bind *:{LISTEN}
    server app {place.address}:{ORIGIN["tcp"]}
""")
    bind = {
        "http1-mtls": f" ssl crt {place.certificates}/server.both.pem ca-file {place.certificates}/roots.pem verify required"
                      " ssl-min-ver TLSv1.3 curves X25519 no-tls-tickets",
        "http2": " proto h2",
    }.get(job.kind, "")
    only = f"    http-request deny unless {{ path_beg -f {place.folder}/prefixes.lst }}\n" if job.routes else ""
    proto = " proto h2" if job.kind == "http2" else ""
    return around("http", f"""    log global
    option httplog
    http-reuse always
frontend in
    bind *:{LISTEN}{bind}
{only}    http-request set-header x-request-id %[uuid()]
    http-request set-header x-forwarded-proto {"https" if job.kind == "http1-mtls" else "http"}
    default_backend app
backend app
    server app {place.address}:{ORIGIN[job.kind]}{proto}
""", keeps_sessions=job.kind != "http1-mtls")


def originator_config(host: str, port: int, place: Place) -> str:
    """Plaintext from the load generator, mTLS with a client certificate to `host`; it demands of the server what a sidecar would."""
    # An SVID has no host name; without `verifyhost` none is asked for. nginx refuses a client that offers nothing it knows.
    server = (f"server proxy {host}:{port} ssl crt {place.certificates}/client.both.pem ca-file {place.certificates}/roots.pem"
              f" verify required ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256 alpn {ALPN},http/1.1 proto h1")
    return around("http", f"""
frontend keeping
    bind 127.0.0.1:{ORIGINATOR}
    default_backend kept
backend kept
    http-reuse always
    {server} no-ssl-reuse
frontend opening
    bind 127.0.0.1:{ORIGINATOR_NEW}
    default_backend new
backend new
    option http-server-close
    http-reuse never
    {server} no-ssl-reuse pool-max-conn 0
""")
