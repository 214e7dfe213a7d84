"""nginx, as a proxy and as the origin of everything."""

from .errors import NotAvailable
from .layout import ANSWER_BYTES, BULK_PATH, LARGE_PATH, ORIGIN, OUTSIDE, RPC_PATH, STORE_PATH, Job, Place

STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
AS_ROOT = "user root;"      # as which origins are started; proxies are not
UNENDING = 1_000_000_000   # keep-alive by default ends after 1,000 requests

LOG_FORMAT = r"""
    log_format told escape=json '{"time":"$msec","direction":"inbound","dst":"$server_addr:$server_port","tls":"$ssl_protocol",'
        '"peer":"$ssl_client_fingerprint","source":"$remote_addr:$remote_port","connection":$connection,"method":"$request_method",'
        '"host":"$host","path":"$uri","status":$status,"rule":"$proxy_host","upstream":"$upstream_addr","request_id":"$request_id",'
        '"received":$request_length,"sent":$body_bytes_sent,"duration":$request_time}';
    access_log /dev/null told;
"""
# What the application is told of its caller. Of a peer it is the certificate's hash: names that are URIs nginx cannot read.
TOLD = """
    proxy_set_header Host $http_host;
    proxy_set_header X-Request-Id $request_id;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-For $remote_addr;
"""
KEPT = """
    proxy_http_version 1.1;
    proxy_set_header Connection "";
"""


def nginx_config(job: Job, place: Place) -> str:
    """As a proxy. What it speaks to the origin is HTTP/1.1 whatever comes in, gRPC excepted. NotAvailable for what it cannot do."""
    if job.kind == "call":
        raise NotAvailable("it verifies names of hosts only, and who serves in a mesh has none")
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
""" if job.has_mtls else ""
    option = {"http1-mtls": " ssl", "tcp-mtls": " ssl", "http2": " http2"}.get(job.kind, "")
    if job.is_tcp:
        return around(place, "", before=f"load_module {STREAM_MODULE};", stream=f"""
stream {{
    log_format told escape=json '{{"time":"$msec","direction":"inbound","dst":"$server_addr:$server_port",'
        '"source":"$remote_addr:$remote_port","connection":$connection,"upstream":"$upstream_addr","received":$bytes_received,'
        '"sent":$bytes_sent,"duration":$session_time}}';
    access_log /dev/null told;
    server {{
        listen {job.listen}{option};
{tls}        proxy_pass {place.address}:{ORIGIN[job.kind]};
    }}
}}
""")
    if job.kind == "origination":
        return around(place, LOG_FORMAT + KEPT + known_hosts(job) + f"""
    proxy_set_header Host $http_host;
    proxy_ssl_trusted_certificate {place.certificates}/roots.pem;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 3;
    proxy_ssl_server_name on;
    proxy_ssl_name {job.names[-1]};
    proxy_ssl_protocols TLSv1.3;
    upstream app {{ server {OUTSIDE}:{ORIGIN[job.kind]}; keepalive 128; keepalive_requests {UNENDING}; }}
    server {{
        listen {job.listen};
        if ($is_known = 0) {{ return 404; }}
        location / {{ proxy_pass https://app; }}
    }}
""")
    # A prefix of whole segments, as the others match it.
    locations = "".join(f"        location {prefix}/ {{ proxy_pass http://app; }}\n" for prefix in job.prefixes)
    told = TOLD + ("    proxy_set_header X-Forwarded-Client-Cert Hash=$ssl_client_fingerprint;\n" if job.has_mtls else "")
    return around(place, LOG_FORMAT + KEPT + told + f"""
    grpc_set_header X-Request-Id $request_id;
    grpc_set_header X-Forwarded-Proto $scheme;
    grpc_set_header X-Forwarded-For $remote_addr;
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    upstream app {{ server {place.address}:{ORIGIN["http1"]}; keepalive 128; keepalive_requests {UNENDING}; }}
    upstream rpc {{ server {place.address}:{ORIGIN["http2"]}; keepalive 128; keepalive_requests {UNENDING}; }}
    server {{
        listen {job.listen}{option};
        location {RPC_PATH} {{ grpc_pass grpc://rpc; }}
{tls}{locations or "        location / { proxy_pass http://app; }"}
    }}
""")


def known_hosts(job: Job) -> str:
    """`$is_known`: 1 for the hosts of the job."""
    hosts = "".join(f"        {name} 1;\n" for name in job.names)
    return f"""
    map_hash_max_size 65536;
    map $host $is_known {{
        default 0;
{hosts}    }}
"""


def origin_config(place: Place) -> str:
    """The application: answers short and long, what is sent to it stored, gRPC, a port for each protocol; no log, for it is not what is
    measured. `place.folder` has the files of LARGE_PATH, BULK_PATH and RPC_PATH."""
    return around(place, before=AS_ROOT, http=f"""
    access_log off;
    default_type text/plain;
    client_max_body_size 0;
    server {{
        listen {ORIGIN["http1"]};
        listen {ORIGIN["http2"]} http2;
        location / {{ return 200 "{"x" * ANSWER_BYTES}"; }}
        location = {LARGE_PATH} {{ root {place.folder}; }}
        location = {STORE_PATH} {{ root {place.folder}; dav_methods PUT; create_full_put_path on; }}
        # Of a static file nginx takes no POST: the answer is that of a GET, with the trailer of a call that went well. Who mirrors a
        # request reads its body first; of one that is not read the stream would be reset.
        location = {RPC_PATH} {{ root {place.folder}; mirror /nowhere; error_page 405 =200 /answer; }}
        location = /answer {{ internal; alias {place.folder}{RPC_PATH}; default_type application/grpc; add_trailer grpc-status 0; }}
        location = /nowhere {{ internal; return 204; }}
    }}
    server {{
        listen {ORIGIN["tcp"]};
        location / {{ return 200 "ready"; }}
        location = {BULK_PATH} {{ root {place.folder}; }}
    }}
""")


def outside_config(place: Place) -> str:
    """A host outside: the same short answers over TLS, by any of its names."""
    return around(place, before=AS_ROOT, http=f"""
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
