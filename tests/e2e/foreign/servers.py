"""Starts the servers of the mesh. Each is waited for; one that cannot start fails every test that needs it, with what it said."""

from pathlib import Path

from tests.helpers import pki
from tests.helpers.pods import Pod

from .mesh import APPROVED, APPS, GO, HTTP10_PORT, PORTS, PYTHON, UNAPPROVED, Mesh, host

POSTGRES = Path("/usr/lib/postgresql")
NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off; client_max_body_size 0; default_type text/plain;
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
    {body}
}}
"""


def serve_all(mesh: Mesh) -> None:
    for pod in (mesh.orders, mesh.second):
        serve_http(pod)
    serve_other(mesh)
    serve_plaintext(mesh)
    serve_outside(mesh)
    proxy(mesh)


def serve_http(pod: Pod) -> None:
    def serve(name: str, *command: str | Path) -> None:
        pod.serve(PORTS[name][0], name, *command)

    def port(name: str) -> str:
        return str(PORTS[name][0])

    serve("go", GO, "serve", port("go"))
    serve("go-h1", GO, "serve", port("go-h1"), "h1")
    serve("node", "node", APPS / "server.js", port("node"), "http")
    serve("node-h2", "node", APPS / "server.js", port("node-h2"), "http2")
    for name in ("aiohttp", "uvicorn", "websockets"):
        serve(name, PYTHON, APPS / "server.py", name, port(name))
    serve("grpc", PYTHON, APPS / "grpc_server.py", port("grpc"), pod.name)
    (pod.app_folder / "hello").write_text("hello from nginx\n")
    start_nginx(pod, PORTS["nginx"][0],
                f"server {{ listen {port('nginx')}; root {pod.app_folder}; add_header x-spoken $server_protocol; }}")


def start_nginx(pod: Pod, port: int, body: str) -> None:
    (pod.app_folder / "nginx.conf").write_text(NGINX.format(body=body))
    pod.serve(port, "nginx", "nginx", "-p", f"{pod.app_folder}/", "-c", "nginx.conf", "-e", "stderr")


def newest_postgres() -> Path:
    """Where Debian keeps its programs."""
    return max(POSTGRES.glob("*/bin"))


def serve_plaintext(mesh: Mesh) -> None:
    """What archive is called for without a sidecar."""
    pod = mesh.archive
    pod.serve(HTTP10_PORT, "http10", PYTHON, APPS / "server.py", "http10", str(HTTP10_PORT))
    pod.serve(PORTS["grpc"][0], "grpc", PYTHON, APPS / "grpc_server.py", str(PORTS["grpc"][0]), pod.name)
    pod.serve(PORTS["websockets"][0], "websockets", PYTHON, APPS / "server.py", "websockets", str(PORTS["websockets"][0]))
    serve_redis(pod)
    serve_banner(pod)
    serve_own_tls(mesh, pod)


def serve_redis(pod: Pod) -> None:
    pod.serve(PORTS["redis"][0], "redis", "redis-server", "--port", str(PORTS["redis"][0]), "--protected-mode", "no", "--save", "",
              "--dir", pod.app_folder)


def serve_banner(pod: Pod) -> None:
    """It speaks first."""
    pod.serve(PORTS["banner"][0], "banner", "socat", f"TCP-LISTEN:{PORTS['banner'][0]},fork,reuseaddr",
              "SYSTEM:echo 220 ready; read line; echo 250 $line")


def serve_own_tls(mesh: Mesh, pod: Pod) -> None:
    own = pki.issue(mesh.outside_root, pki.host(host("orders")), purposes=[pki.SERVER])
    _https(pod, "app-tls", PORTS["app-tls"][0], own, "the app's own TLS")


def serve_other(mesh: Mesh) -> None:
    """Other protocols than HTTP."""
    pod = mesh.orders
    serve_redis(pod)
    newest = newest_postgres()
    data = pod.app_folder / "data"
    pod.call(newest / "initdb", "-A", "trust", "-U", "postgres", "--no-sync", "-D", data)
    with (data / "pg_hba.conf").open("a") as file:
        file.write("host all all 0.0.0.0/0 trust\n")
    pod.serve(PORTS["postgres"][0], "postgres", newest / "postgres", "-D", data, "-k", pod.app_folder, "-c", "listen_addresses=*",
              "-c", "fsync=off")
    serve_banner(pod)
    pod.serve(PORTS["sort"][0], "sort", "socat", "-t", "30", f"TCP-LISTEN:{PORTS['sort'][0]},fork,reuseaddr", "EXEC:sort")
    serve_own_tls(mesh, pod)


def _https(pod: Pod, name: str, port: int, holder: pki.Holder, text: str, address: str = "0.0.0.0") -> None:
    """A server of Node's that speaks HTTP/1.1 and HTTP/2 over TLS."""
    chain, key = pod.app_folder / f"{name}.pem", pod.app_folder / f"{name}.key"
    chain.write_text(holder.chain_pem)
    key.write_text(holder.key_pem)
    pod.serve(port, name, "node", APPS / "https.js", str(port), chain, key, text)


def serve_outside(mesh: Mesh) -> None:
    """One address and one certificate for every name; it says nothing of the misnamed one."""
    holder = pki.issue(mesh.outside_root, pki.host(APPROVED), pki.host(UNAPPROVED), purposes=[pki.SERVER])
    _https(mesh.outside, "https", 443, holder, "hello from outside")


def proxy(mesh: Mesh) -> None:
    """nginx as the client: it proxies from a private port of web's to orders."""
    places = {name: f"http://{host('orders')}:{PORTS[name][0]}/" for name in ("go", "node", "nginx")}
    upstream = "\n".join(f"location /{name}/ {{ proxy_pass {place}; }}" for name, place in places.items())
    start_nginx(mesh.web, 9000, f"""
        server {{ listen 127.0.0.1:9000; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; {upstream} }}
    """)


