"""What others make of our certificates, and what their libraries get from our sockets: pkilint, py-spiffe, go-spiffe.

One issuer and two sidecars as processes; no packet rules, since nothing here passes them.
"""

import json
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sidecar.protocol.protobuf import read_fields
from tests.certs.support import ISSUER, JWKS, token
from tests.helpers import pki
from tests.helpers.issuer import of_pod
from tests.helpers.pki import DOMAIN, ORDERS, WEB
from tests.helpers.pods import BARTIZAN, ROOT, wait_until
from tests.helpers.sockets import free_ports

pytestmark = pytest.mark.foreign

VENV = ROOT / ".venv-e2e" / "bin"
APPS = ROOT / "tests" / "e2e" / "foreign" / "apps"
PY_SPIFFE = (VENV / "python", APPS / "spiffe_client.py")
GO_SPIFFE = (VENV / "go-spiffe",)
LIBRARIES = pytest.mark.parametrize("library", [PY_SPIFFE, GO_SPIFFE], ids=["py-spiffe", "go-spiffe"])
ACCOUNTS = {"web": WEB, "orders": ORDERS}


def run(*command: str | Path, stdin: str = "", within_s: float = 60) -> str:
    """What a program says that must succeed."""
    done = subprocess.run([*map(str, command)], input=stdin, capture_output=True, text=True, timeout=within_s, cwd=ROOT)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


# -- certificates


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an authority that has issued by hand: web.pem and server.pem, each with its key."""
    ca = tmp_path_factory.mktemp("issued") / "ca"
    run(*BARTIZAN, "certs", "init", "--trust-domain", DOMAIN, ca)
    run(*BARTIZAN, "certs", "issue", ca, "--identity", WEB, "--out", ca / "web")
    run(*BARTIZAN, "certs", "issue", ca, "--https", "issuer.bartizan-system.svc", "--out", ca / "server")
    return ca


# What pkilint finds and we leave as it is: (code, message) -> why.
WAIVED = {
    ("pkix.invalid_uri_syntax", f'Invalid URI syntax: "spiffe://{DOMAIN}"'):
        "a good URI (RFC 3986), demanded by X509-SVID s2; the linter's library knows no scheme of that name",
    ("pkix.invalid_uri_syntax", f'Invalid URI syntax: "{WEB}"'): "the same",
    ("pkix.invalid_domain_name_syntax", 'Invalid domain name syntax: "svc"'):
        "a constraint, not a name: what may be signed ends in .svc (RFC 5280 s4.2.1.10), and a domain may be one label (RFC 1034 s3.5)",
}


def findings(*command: str | Path) -> set[tuple[str, str]]:
    """What a linter of pkilint has against a certificate, from NOTICE up."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return {
        (one["code"], one["message"] or "")
        for result in json.loads(done.stdout)["results"] for one in result["finding_descriptions"]
    }


def certificates(ca: Path) -> Iterator[tuple[str, Path]]:
    """Every certificate of the authority, alone in a file."""
    for name in ("web", "server", "roots"):
        for i, certificate in enumerate(x509.load_pem_x509_certificates((ca / f"{name}.pem").read_bytes())):
            path = ca / f"{name}-{i}.crt"
            path.write_bytes(certificate.public_bytes(Encoding.PEM))
            yield f"{name}-{i}", path


def test_certificates_pass_the_linter(issued: Path) -> None:
    found = {
        name: findings(VENV / "lint_pkix_cert", "lint", "-s", "NOTICE", "-f", "JSON", path) for name, path in certificates(issued)
    }
    assert len(found) == 5
    assert set().union(*found.values()) == WAIVED.keys()     # no other, and no waiver that nothing needs
    uri, own, domain = WAIVED
    assert found == {"web-0": {own}, "web-1": {uri}, "server-0": set(), "server-1": {domain}, "roots-0": {uri}}


@pytest.mark.parametrize(("signer", "signed"), [
    ("web-1", "web-0"), ("server-1", "server-0"), ("roots-0", "web-1"), ("roots-0", "server-1"),
])
def test_chains_pass_the_linter(signer: str, signed: str, issued: Path) -> None:
    path = dict(certificates(issued))
    linter = VENV / "lint_pkix_signer_signee_cert_chain"
    assert findings(linter, "lint", "-s", "NOTICE", "-f", "JSON", path[signer], path[signed]) == set()


def test_the_linter_sees_what_is_wrong(tmp_path: Path) -> None:
    bad = pki.issue(None, pki.uri(WEB), subject="web", signs=True)
    (tmp_path / "bad.crt").write_text(bad.chain_pem)
    found = findings(VENV / "lint_pkix_cert", "lint", "-s", "NOTICE", "-f", "JSON", tmp_path / "bad.crt")
    assert found - WAIVED.keys()


def test_py_spiffe_reads_what_was_issued(issued: Path) -> None:
    parsed = json.loads(run(*PY_SPIFFE, "parse", issued / "web.pem", issued / "web.key", issued / "roots.pem"))
    assert parsed | {"serial": ""} == {"id": WEB, "serial": "", "chain": 2, "holder": [], "authorities": 1, "has_key": True}


def test_messages_are_what_protobuf_takes_for_messages() -> None:
    """Any bytes: what is a message to us is one to protobuf; what is one to protobuf alone has what nobody writes."""
    rng = random.Random(7)

    def anything() -> bytes:
        parts = [rng.choice((rng.randbytes(rng.randint(0, 4)), b"\x0a\x01a", b"\x08\x96\x01", b"\x0d1234", b"\x0912345678", b"\x0b\x0c"))
                 for _ in range(rng.randint(0, 4))]
        return b"".join(parts)

    def why_not(message: bytes) -> str:
        try:
            list(read_fields(message))
        except ValueError as exc:
            return str(exc)
        return ""

    tried = [anything() for _ in range(5000)]
    theirs = json.loads(run(*PY_SPIFFE, "messages", stdin=json.dumps([message.hex() for message in tried])))
    ours = [why_not(message) for message in tried]
    assert 1000 < theirs.count(True) < 4500
    for message, is_one, why in zip(tried, theirs, ours, strict=True):
        if is_one and any(words in why for words in ("of no known kind: 3", "64 bits", "0 is no field number")):
            continue    # a group, bits that are dropped, a field that cannot be
        assert is_one == (not why), (message, why)


# -- the Workload API


@dataclass(frozen=True)
class Running:
    """
    Args:
        folder: of the issuer's directory `ca`, and of each sidecar's.
        url: of the issuer.
    """

    folder: Path
    url: str

    def api(self, name: str) -> Path:
        return self.folder / name / "api.sock"

    def rotate(self, name: str) -> None:
        run("curl", "-sSf", "-X", "POST", "--unix-socket", self.folder / name / "admin.sock", "http://localhost/rotate")

    def serial(self, name: str) -> str:
        """Of the sidecar's own certificate."""
        status = run("curl", "-sSf", "--unix-socket", self.folder / name / "admin.sock", "http://localhost/status")
        return str(json.loads(status)["serial"])

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "ca" / "issuance.log").read_text().splitlines()]

    def write_snapshot(self, name: str, **more: object) -> None:
        path = self.folder / name / "snapshot.json"
        path.with_suffix(".new").write_text(json.dumps({"workload": {"identity": ACCOUNTS[name], "namespace": "shop"}, **more}))
        path.with_suffix(".new").replace(path)


def start(stack: ExitStack, log: Path, *command: str | Path) -> None:
    with log.open("wb") as file:
        process = stack.enter_context(subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT))
    stack.callback(process.kill)


def start_issuer(stack: ExitStack, folder: Path, port: int) -> None:
    run(*BARTIZAN, "certs", "init", "--trust-domain", DOMAIN, "--https-domain", "localhost", folder / "ca")
    (folder / "jwks.json").write_bytes(JWKS)
    (folder / "issuer.json").write_text(json.dumps({
        "directory": str(folder / "ca"), "trustDomain": DOMAIN, "names": ["localhost"], "address": "127.0.0.1", "port": port,
        "tokens": {"jwksFile": str(folder / "jwks.json"), "issuer": ISSUER},
    }))
    start(stack, folder / "issuer.out", *BARTIZAN, "certs", "serve", "--config", folder / "issuer.json")


def start_sidecar(stack: ExitStack, running: Running, name: str, ports: list[int]) -> None:
    folder = running.folder / name
    folder.mkdir()
    bound = {"namespace": "shop", "pod": {"name": f"{name}-0", "uid": f"uid-{name}"}, "serviceaccount": {"name": name, "uid": "a"}}
    (folder / "token").write_text(token(of_pod("", **{"kubernetes.io": bound, "sub": f"system:serviceaccount:shop:{name}"})))
    running.write_snapshot(name)
    (folder / "config.json").write_text(json.dumps({
        "adminSocket": str(folder / "admin.sock"), "workloadApi": str(running.api(name)), "podUid": f"uid-{name}",
        "snapshot": {"source": "file", "path": str(folder / "snapshot.json")},
        "identity": {"source": "issuer", "url": running.url, "tokenFile": str(folder / "token"),
                     "rootsFile": str(running.folder / "ca" / "roots.pem")},
        "listen": dict(zip(("inbound", "outbound", "dns"), ports, strict=True)),
        "interception": {"checkEveryS": 0}, "accessLog": "off",
    }))
    start(stack, folder / "out", *BARTIZAN, "sidecar", "--config", folder / "config.json")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("running")
    port, *others = free_ports(7)
    with ExitStack() as stack:
        made = Running(folder, f"https://localhost:{port}")
        start_issuer(stack, folder, port)
        for name in ACCOUNTS:
            start_sidecar(stack, made, name, [others.pop() for _ in range(3)])
        for name in ACCOUNTS:
            wait_until(lambda: made.api(name).exists() and (folder / "ca" / "issuance.log").exists(),     # noqa: B023 -- asked at once
                       lambda: "\n".join(path.read_text() for path in folder.glob("**/out")))
        yield made


class Watching:
    """A client that prints a line at each update."""

    def __init__(self, stack: ExitStack, *command: str | Path) -> None:
        self._process = stack.enter_context(subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, cwd=ROOT))
        stack.callback(self._process.kill)

    def next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


@LIBRARIES
def test_an_application_gets_its_own_svid(library: tuple[Path, ...], running: Running) -> None:
    found = json.loads(run(*library, "context", running.api("web")))
    assert (found["id"], found["chain"], found["holder"]) == (WEB, 2, ["application"])
    assert found.get("has_key", True)
    assert found["serial"] != running.serial("web")
    (entry,) = [line for line in running.log if int(line["serial"], 16) == int(found["serial"], 16)]
    assert (entry["holder"], entry["podUid"]) == ("application", "uid-web")


@LIBRARIES
def test_it_hears_of_a_rotation_and_of_another_root(library: tuple[Path, ...], running: Running) -> None:
    with ExitStack() as stack:
        watching = Watching(stack, *library, "watch", running.api("web"), "3")
        first = watching.next()
        running.rotate("web")
        second = watching.next()
        assert second["serial"] != first["serial"]
        stack.callback(running.write_snapshot, "web")
        count = first["authorities"]
        roots = (running.folder / "ca" / "roots.pem").read_text() + "".join(pki.authority("next").chain_pem for _ in range(count))
        version = json.loads((running.folder / "ca" / "trust.json").read_text())["version"] + 1000 * count
        running.write_snapshot("web", trust={"version": version, "roots": roots})
        third = watching.next()
        assert third["serial"] == second["serial"]
        assert third["authorities"] == count + 1


def test_two_applications_speak_mutual_tls(running: Running) -> None:
    said = run(*GO_SPIFFE, "pair", running.api("orders"), running.api("web"), ORDERS)
    assert json.loads(said) == f"hello {WEB}"


def test_and_demand_whom_they_want(running: Running) -> None:
    done = subprocess.run([*map(str, GO_SPIFFE), "pair", str(running.api("orders")), str(running.api("web")), WEB],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "unexpected ID" in done.stderr


def test_what_is_not_served_and_who_is_not(running: Running) -> None:
    assert json.loads(run(*PY_SPIFFE, "codes", running.api("web"))) == {
        "jwt": "UNIMPLEMENTED", "jwt bundles": "UNIMPLEMENTED", "validate": "UNIMPLEMENTED", "other": "UNIMPLEMENTED",
        "bare": "INVALID_ARGUMENT", "bare bundles": "INVALID_ARGUMENT",
    }


def test_the_bundle_in_spiffes_own_form(running: Running) -> None:
    bundle = run("curl", "-sSf", "--cacert", running.folder / "ca" / "roots.pem", f"{running.url}/v1/bundle")
    sequence = json.loads(bundle)["spiffe_sequence"]
    assert json.loads(run(*GO_SPIFFE, "bundle", DOMAIN, stdin=bundle)) == {"authorities": 1, "refresh": 300, "sequence": sequence}


def test_no_process_has_complained(running: Running) -> None:
    """Last: tracebacks would stand here."""
    for path in (running.folder / "issuer.out", *(running.folder / name / "out" for name in ACCOUNTS)):
        assert "Traceback" not in path.read_text(), path


# -- the socket


def test_a_socket_is_reached_through_a_mount_that_is_read_only(tmp_path: Path) -> None:
    """And nobody can put another in its place there. So other containers mount the volume, by injector/containers.py."""
    program = f"""
import os, socket
socket.socket(socket.AF_UNIX).connect("{tmp_path}/seen/api.sock")
for attempt in (lambda: os.unlink("{tmp_path}/seen/api.sock"), lambda: os.rename("{tmp_path}/seen/api.sock", "{tmp_path}/seen/b"),
                lambda: socket.socket(socket.AF_UNIX).bind("{tmp_path}/seen/other.sock")):
    try:
        attempt()
    except OSError as exc:
        assert exc.errno == 30, exc
    else:
        raise SystemExit("it could be replaced")
"""
    (tmp_path / "volume").mkdir()
    (tmp_path / "seen").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "volume" / "api.sock"))
        listener.listen()
        mount = f"mount --bind {tmp_path}/volume {tmp_path}/seen && mount -o remount,bind,ro {tmp_path}/seen"
        run("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", f'{mount} && exec "$0" -c "$1"', sys.executable, program)
