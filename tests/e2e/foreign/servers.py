"""Starts the servers of the mesh. Each is waited for; one that cannot start fails every test that needs it, with what it said."""

import zipfile
from pathlib import Path

from tests.helpers import pki
from tests.helpers.pods import Pod

from .mesh import APPROVED, APPS, GO, HTTP10_PORT, PATH_SERVERS, PORTS, PYTHON, UNAPPROVED, Mesh, host

POSTGRES = Path("/usr/lib/postgresql")
TOMCAT = Path("/usr/share/tomcat10")
SECRET = "the-secret-of-paths"
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
    serve_paths(mesh.paths)
    mesh.paths.serve(PORTS["go"][0], "go", GO, "serve", str(PORTS["go"][0]))
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


def serve_paths(pod: Pod) -> None:
    """Each with the same files and a log of the request lines as they came, behind the request's id."""
    root = pod.app_folder / "ROOT"
    for name, text in (("private/secret", SECRET), ("public/page", "page"), ("public/private/secret", "another")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for start in (_nginx_of_paths, _apache_of_paths, _tomcat_of_paths):
        start(pod, root)


def _nginx_of_paths(pod: Pod, root: Path) -> None:
    port = PATH_SERVERS["nginx"]
    start_nginx(pod, port, f"""
        log_format pair escape=none '$http_x_request_id $request';
        server {{ listen {port}; root {root}; access_log nginx-access.log pair; }}
    """)


def _apache_of_paths(pod: Pod, root: Path) -> None:
    port, folder = PATH_SERVERS["apache"], pod.app_folder
    modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in ("mpm_event", "authz_core", "dir"))
    (folder / "apache.conf").write_text(f"""
        {modules}
        ServerRoot {folder}
        DefaultRuntimeDir {folder}
        PidFile apache.pid
        ServerName localhost
        Listen 0.0.0.0:{port}
        ErrorLog apache-error.log
        DocumentRoot {root}
        AllowEncodedSlashes On
        LogFormat "%{{X-Request-Id}}i %r" pair
        CustomLog {folder}/apache-access.log pair
    """)
    pod.serve(port, "apache", "apache2", "-X", "-f", folder / "apache.conf")


def _tomcat_of_paths(pod: Pod, root: Path) -> None:
    port, base = PATH_SERVERS["tomcat"], pod.app_folder / "tomcat"
    for name in ("conf", "logs", "temp", "work"):
        (base / name).mkdir(parents=True)
        (base / name).chmod(0o777)
    # It asks by access(2) what it may read, to which a capability means nothing; of an archive it does not ask.
    with zipfile.ZipFile(base / "ROOT.war", "w") as war:
        for path in sorted(root.rglob("*")):
            war.write(path, path.relative_to(root))
    (base / "conf" / "web.xml").write_text("""<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
        <servlet><servlet-name>default</servlet-name><servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class></servlet>
        <servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
    </web-app>""")
    (base / "conf" / "server.xml").write_text(f"""<Server port="-1"><Service name="Catalina">
        <Connector port="{port}" encodedSolidusHandling="decode" encodedReverseSolidusHandling="decode" maxHttpRequestHeaderSize="65536"/>
        <Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="none" autoDeploy="false" unpackWARs="false">
            <Context path="" docBase="{base}/ROOT.war"/>
            <Valve className="org.apache.catalina.valves.AccessLogValve" directory="{pod.app_folder}" prefix="tomcat-access" suffix=".log"
                   rotatable="false" buffered="false" pattern="%{{X-Request-Id}}i %r"/>
        </Host></Engine>
    </Service></Server>""")
    pod.serve(port, "tomcat", "java", "-Xmx128m", "-cp", f"{TOMCAT}/bin/bootstrap.jar:{TOMCAT}/bin/tomcat-juli.jar",
              f"-Dcatalina.home={TOMCAT}", f"-Dcatalina.base={base}", f"-Djava.io.tmpdir={base}/temp",
              "org.apache.catalina.startup.Bootstrap", "start")


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


