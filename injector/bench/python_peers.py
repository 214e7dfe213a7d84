"""mitmproxy and proxy.py, proxies in Python as ours is one: one hop of HTTP/1.1, with the same header changes and the same log.

Neither verifies a client's certificate, so neither could stand in a mesh: with TLS they do less than the others. For more than that they
are not asked.
"""

from pathlib import Path

from .layout import ORIGIN, Job, Place

# What a proxy of ours does for each request, in the words of theirs. Run by their Python, not by ours.
_MITMPROXY = """import json, sys, time, uuid
def request(flow):
    flow.metadata["id"] = uuid.uuid4().hex
    flow.request.headers["x-request-id"] = flow.metadata["id"]
    flow.request.headers["x-forwarded-proto"] = "http"
    flow.request.headers["x-forwarded-for"] = flow.client_conn.peername[0]
def response(flow):
    print(json.dumps({
        "time": flow.request.timestamp_start, "direction": "inbound", "dst": flow.client_conn.sockname, "security": "plaintext",
        "source": flow.client_conn.peername, "connection": flow.client_conn.id, "method": flow.request.method,
        "host": flow.request.pretty_host, "path": flow.request.path, "status": flow.response.status_code, "rule": "all",
        "upstream": flow.server_conn.peername, "request_id": flow.metadata["id"], "received": len(flow.request.raw_content or b""),
        "sent": len(flow.response.raw_content or b""), "duration_ms": (time.time() - flow.request.timestamp_start) * 1e3}))
"""
# It leads back no second request of a connection (its event loop ends), so it is used as what it is made for: asked by absolute URL.
# Its own log has a line for each connection; here it is one for each answer, which comes whole.
_PROXY_PY = """import json, sys, time, uuid
from proxy.http.proxy import HttpProxyBasePlugin
class Through(HttpProxyBasePlugin):
    def handle_client_request(self, request):
        self.request, self.began, self.id = request, time.time(), uuid.uuid4().hex
        request.add_header(b"x-request-id", self.id.encode())
        request.add_header(b"x-forwarded-proto", b"http")
        request.add_header(b"x-forwarded-for", self.client.addr[0].encode())
        return request
    def handle_upstream_chunk(self, chunk):
        print(json.dumps({
            "time": self.began, "direction": "inbound", "security": "plaintext", "source": self.client.addr, "connection": self.uid,
            "method": self.request.method.decode(), "host": self.request.host.decode(), "path": self.request.path.decode(),
            "status": int(chunk[9:12]), "rule": "all", "upstream": "UPSTREAM", "request_id": self.id, "received": 0, "sent": len(chunk),
            "duration_ms": (time.time() - self.began) * 1e3}))
        return chunk
"""


def mitmproxy_argv(program: str, job: Job, place: Place) -> list[str]:
    tls = ["--certs", f"*={place.certificates}/server.both.pem"] if job.has_mtls else []
    return [program, "-q", *tls, "-s", place.write("addon.py", _MITMPROXY), "--set", f"confdir={place.folder}",
            "--mode", f"reverse:http://{place.address}:{ORIGIN[job.kind]}@{job.listen}"]


def proxy_py_argv(program: str, job: Job, place: Place) -> list[str]:
    certificates = place.certificates
    tls = ["--cert-file", f"{certificates}/server.pem", "--key-file", f"{certificates}/server.key"] if job.has_mtls else []
    module = place.write("through.py", _PROXY_PY.replace("UPSTREAM", f"{place.address}:{ORIGIN[job.kind]}"))
    return ["env", f"PYTHONPATH={place.folder}", f"HOME={place.folder}", program, "--hostname", "0.0.0.0", "--port", str(job.listen),
            "--num-workers", "1", "--num-acceptors", "1", "--plugins", f"{Path(module).stem}.Through", "--log-level", "w",
            "--data-dir", str(place.folder), *tls]
