"""nginx, as a proxy and as the origin of everything."""

from .errors import NotAvailable
from .layout import ANSWER_BYTES, BULK_PATH, LISTEN, ORIGIN, OUTSIDE, Job, Place

STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
UNENDING = 1_000_000_000   # keep-alive by default ends after 1,000 requests

LOG_FORMAT = r"""
    log_format told escape=json '{"time":"$msec","source":"$remote_addr","peer":"$ssl_client_s_dn","tls":"$ssl_protocol",'
        '"method":"$request_method","host":"$host","path":"$uri","status":$status,"upstream":"$upstream_addr",'
        '"request_id":"$request_id","received":$request_length,"sent":$body_bytes_sent,"duration":$request_time}';
"""


def nginx_config(job: Job, place: Place) -> str:
    """As a proxy. What it speaks to the origin is HTTP/1.1 whatever comes in. NotAvailable for what is not compared."""
    if job.kind == "origination":
        raise NotAvailable("not set up to originate")
    if job.kind == "tcp":
        return around(place, "", before=f"load_module {STREAM_MODULE};", stream=f"""
stream {{
    log_format told escape=json '{{"time":"$msec","source":"$remote_addr","upstream":"$upstream_addr","received":$bytes_received,'
        '"sent":$bytes_sent,"duration":$session_time}}';
    access_log /dev/null told;
    server {{ listen {LISTEN}; proxy_pass {place.address}:{ORIGIN["tcp"]}; }}
}}
""")
    tls = f"""
        ssl_certificate {place.certificates}/server.pem;
        ssl_certificate_key {place.certificates}/server.key;
        ssl_client_certificate {place.certificates}/roots.pem;
        ssl_verify_client on;
        ssl_verify_depth 3;
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve X25519;
        ssl_session_cache off;
        ssl_session_tickets off;
""" if job.kind == "http1-mtls" else ""
    option = {"http1-mtls": " ssl", "http2": " http2"}.get(job.kind, "")
    # A prefix of whole segments, as the others match it.
    locations = "".join(f"        location {prefix}/ {{ proxy_pass http://app; }}\n" for prefix in job.prefixes)
    return around(place, f"""{LOG_FORMAT}
    access_log /dev/null told;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Request-Id $request_id;
    proxy_set_header X-Forwarded-Proto $scheme;
    upstream app {{ server {place.address}:{ORIGIN["http1"]}; keepalive 128; keepalive_requests {UNENDING}; }}
    server {{
        listen {LISTEN}{option};
{tls}{locations or "        location / { proxy_pass http://app; }"}
    }}
""")


def origin_config(place: Place) -> str:
    """The application: short answers, a long one, each on a port of its own; no log, for it is not what is measured."""
    return around(place, f"""
    access_log off;
    default_type text/plain;
    server {{
        listen {ORIGIN["http1"]};
        listen {ORIGIN["http2"]} http2;
        location / {{ return 200 "{"x" * ANSWER_BYTES}"; }}
    }}
    server {{
        listen {ORIGIN["tcp"]};
        location / {{ return 200 "ready"; }}
        location = {BULK_PATH} {{ root {place.folder}; }}
    }}
""")


def outside_config(place: Place) -> str:
    """A host outside: the same short answers over TLS, by any of its names."""
    return around(place, f"""
    access_log off;
    default_type text/plain;
    server {{
        listen {OUTSIDE}:{ORIGIN["origination"]} ssl;
        ssl_certificate {place.certificates}/outside.pem;
        ssl_certificate_key {place.certificates}/outside.key;
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve X25519;
        location / {{ return 200 "{"x" * ANSWER_BYTES}"; }}
    }}
""")


def around(place: Place, http: str, *, before: str = "", stream: str = "", workers: int = 1) -> str:
    temporary = "".join(f"    {name}_temp_path {place.folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""{before}
daemon off;
user root;
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {place.folder}/pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
{temporary}
    sendfile on;
    tcp_nopush off;
    tcp_nodelay on;
    keepalive_requests {UNENDING};
    keepalive_timeout 1h;
{http}}}
{stream}"""
