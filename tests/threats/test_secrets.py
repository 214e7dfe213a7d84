"""Who can read a key or a token? T16, C6: two real processes, asked rightly and wrongly, and all that they say searched for secrets."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import files
from sidecar.model.errors import ConnectFailed
from sidecar.net.clock import wall_clock
from sidecar.net.dial import Dialer
from sidecar.net.listener import Tally, listen_tcp, serve_listener
from sidecar.net.service import call_https, call_unix
from tests.architecture.sources import ROOT
from tests.certs.support import DOMAIN, ISSUER, JWKS, POD_UID, csr_of, new_key, token
from tests.helpers.issuer import SVID, asking, fresh, of_pod
from tests.helpers.sockets import free_ports

NAME = "localhost"


@dataclass
class World:
    """
    Args:
        said: the answers that we were given.
        tokens: all that were shown.
    """

    folder: Path
    issuer_port: int
    sidecar_port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    @property
    def secrets(self) -> list[bytes]:
        """What must stand nowhere: each token's signature, every key in whatever form it might be printed."""
        found = [text.rsplit(".", 1)[1].encode() for text in self.tokens]
        kept = self.folder / "kept"     # where the sidecar keeps its own over a restart
        for path in [*self.folder.glob("ca/*.key"), *([kept] if kept.exists() else [])]:
            text = path.read_text().replace("\\n", "\n")
            pem = text[text.index("-----BEGIN PRIVATE"):]
            pem = pem[:pem.index("-----END PRIVATE KEY-----") + 26]
            key = load_pem_private_key(pem.encode(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            value = key.private_numbers().private_value
            raw = value.to_bytes((key.key_size + 7) // 8, "big")
            found += [str(value).encode(), f"{value:x}".encode(), repr(raw)[2:-1].encode()]
            found += [part.encode() for part in pem.split("\n")[1:3]]
            found += [base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")]
        return [*found, b"PRIVATE KEY", b"Bearer ey"]

    @property
    def outputs(self) -> dict[str, bytes]:
        written = {path.name: path.read_bytes() for path in self.folder.glob("*.out")}
        logs = {path.name: path.read_bytes() for path in self.folder.glob("ca/*.log")}
        return {**written, **logs, "answers": b"\n".join(self.said)}

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as out:
            self.processes.append(subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    issuer_port, inbound, outbound, dns = free_ports(4)
    made = World(tmp_path, issuer_port, inbound)
    files.init(tmp_path / "ca", DOMAIN, [NAME], wall_clock())
    (tmp_path / "jwks.json").write_bytes(JWKS)
    made.tokens.append(token(fresh()))
    (tmp_path / "token").write_text(made.tokens[0])
    (tmp_path / "issuer.json").write_text(json.dumps({
        "directory": str(tmp_path / "ca"), "trustDomain": DOMAIN, "names": [NAME], "address": "127.0.0.1", "port": made.issuer_port,
        "tokens": {"jwksFile": str(tmp_path / "jwks.json"), "issuer": ISSUER},
    }))
    (tmp_path / "snapshot.json").write_text(json.dumps(
        {"workload": {"identity": f"spiffe://{DOMAIN}/ns/shop/sa/web", "namespace": "shop"}, "inbound": {}}))
    (tmp_path / "sidecar.json").write_text(json.dumps({
        "adminSocket": str(tmp_path / "admin"), "podUid": POD_UID, "interception": {"checkEveryS": 0},
        "snapshot": {"source": "file", "path": str(tmp_path / "snapshot.json")},
        "identity": {
            "source": "issuer", "url": f"https://{NAME}:{made.issuer_port}", "tokenFile": str(tmp_path / "token"),
            "rootsFile": str(tmp_path / "ca" / "roots.pem"), "keepFile": str(tmp_path / "kept"),
        },
        "listen": {"inbound": made.sidecar_port, "outbound": outbound, "dns": dns}, "drainAfterS": 0, "drainS": 0,
    }))
    made.start("issuer", "injector.cli.main", "certs", "serve", "--config", str(tmp_path / "issuer.json"))
    made.start("sidecar", "sidecar", "--config", str(tmp_path / "sidecar.json"))
    try:
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()


async def admin(world: World, method: str, path: str) -> bytes:
    answer = await call_unix(str(world.folder / "admin"), method, path)
    world.said.append(answer.body)
    return answer.body


async def until_it_has_a_certificate(world: World) -> None:
    while True:
        try:
            if b"no valid certificate" not in await admin(world, "GET", "/status"):
                return
        except ConnectFailed:
            pass
        ended = [process.args for process in world.processes if process.poll() is not None]
        assert ended == [], world.outputs
        await trio.lowlevel.checkpoint()


def core_limit(process: subprocess.Popen[bytes]) -> list[str]:
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    (core,) = [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")]
    return core


async def test_t16_nothing_that_is_said_holds_a_key_or_a_token(world: World) -> None:
    roots = files.load_certificates(world.folder / "ca" / "roots.pem")

    async def ask(bearer: str, body: bytes, path: str = SVID) -> int:
        world.tokens.append(bearer)
        answer = await call_https(
            Dialer(), ["127.0.0.1"], f"https://{NAME}:{world.issuer_port}{path}", "POST", roots=roots,
            headers=[(b"authorization", b"Bearer " + bearer.encode())], body=body)
        world.said.append(answer.body)
        return answer.status

    with trio.fail_after(60):
        await until_it_has_a_certificate(world)
        csr = asking(csr_of(new_key()))
        assert await ask(token(of_pod("other-pod")), csr) == 200
        assert await ask(token(fresh(aud="api")), csr) == 401
        assert await ask(token(fresh(), key=new_key()), csr) == 401
        assert await ask(token(fresh()) + "x", csr) == 401
        assert await ask(token(fresh()), b"{") == 400
        assert await ask(token(fresh()), asking((world.folder / "ca" / "svid.key").read_text())) == 400   # somebody mistook the file
        assert await ask(token(fresh()), csr, "/v1/none") == 404
        for path in ("/snapshot", "/certificates", "/status", "/none", "/key", "/../kept"):
            await admin(world, "GET", path)
        await admin(world, "POST", "/rotate")
        for sent in (b"GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer " + world.tokens[0].encode() + b"\r\n\r\n", b"\x16\x03\x01"):
            with socket.create_connection(("127.0.0.1", world.sidecar_port)) as sock:
                sock.sendall(sent)
        (world.folder / "token").write_text("no token")
        await until_it_has_a_certificate(world)
    for process in world.processes:
        assert core_limit(process) == ["0", "0"]
        process.send_signal(signal.SIGTERM)
        await trio.to_thread.run_sync(process.wait)
    outputs = world.outputs
    assert outputs["sidecar.out"].count(b"\n") >= 1     # the access log told of somebody
    assert b"shop/sa/web" in outputs["issuance.log"]
    assert len(world.secrets) > 30
    assert {name: secret for name, text in outputs.items() for secret in world.secrets if secret in text} == {}
    assert sorted(path.name for path in world.folder.rglob("core*")) == []


async def test_t16_a_bug_is_told_without_what_it_held(capsys: pytest.CaptureFixture[str]) -> None:
    """The supervisor prints where, not with which values."""
    bearer, listener, tally = token(fresh()), listen_tcp("127.0.0.1", 0), Tally()

    async def buggy(sock: socket.socket) -> None:
        held = {"authorization": bearer}
        raise KeyError(len(held))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listener, listener, buggy, tally)
        async with await trio.open_tcp_stream(*listener.getsockname()[:2]) as stream:
            try:
                await stream.receive_some()
            except trio.BrokenResourceError:
                pass
        nursery.cancel_scope.cancel()
    told = capsys.readouterr().err
    assert (tally.bugs, "KeyError: 1" in told, bearer in told) == (1, True, False)


def test_t16_the_environment_does_not_make_openssl_write_keys(tmp_path: Path) -> None:
    """SSLKEYLOGFILE is obeyed by curl and by Python's own `ssl`, not by what our TLS goes through."""
    ask = (
        "from tests.helpers import pki; from tests.helpers.tls import tls_pair, shake_hands; import trio\n"
        "root = pki.authority('root'); one = pki.issue(root, pki.uri(pki.WEB))\n"
        "pair = tls_pair(pki.mesh_client(one, root), pki.mesh_server(one, root))\n"
        "print(trio.run(shake_hands, *pair))"
    )
    log = tmp_path / "keys.log"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ask], cwd=ROOT, env={**os.environ, "SSLKEYLOGFILE": str(log)},
        capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(None, None)"
    assert not log.exists()
