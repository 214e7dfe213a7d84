import json
from typing import Any

import msgspec
import pytest

from sidecar.model import ports
from sidecar.model.config import FileIdentity, IssuedIdentity, SnapshotFile, SnapshotStream, parse_config, worker_config
from sidecar.model.errors import ConfigError

STREAM: dict[str, Any] = {
    "adminSocket": "/run/bartizan/admin",
    "podUid": "u-1",
    "snapshot": {"source": "stream", "url": "https://injector.bartizan.svc", "keepFile": "/run/bartizan/snapshot.json"},
    "identity": {"source": "issuer", "url": "https://issuer.bartizan.svc", "tokenFile": "/run/token", "rootsFile": "/run/roots"},
}
ALONE: dict[str, Any] = {"adminSocket": "/run/admin", "snapshot": {"source": "file", "path": "/etc/snapshot.json"}}


def test_an_injected_pods() -> None:
    config = parse_config(json.dumps(STREAM).encode())
    assert isinstance(config.snapshot, SnapshotStream)
    assert isinstance(config.identity, IssuedIdentity)
    assert (config.listen.inbound, config.listen.outbound, config.listen.dns) == (ports.INBOUND, ports.OUTBOUND, ports.DNS)


def test_alone() -> None:
    identity = {"source": "files", "chainFile": "c", "keyFile": "k", "rootsFile": "r"}
    config = parse_config(json.dumps(ALONE | {"identity": identity, "drainS": 0}).encode())
    assert config.snapshot == SnapshotFile("/etc/snapshot.json")
    assert config.identity == FileIdentity("c", "k", "r")
    assert config.drain_s == 0


@pytest.mark.parametrize(("changed", "where"), [
    ({"adminSocket": None}, "adminSocket"),
    ({"adminSockets": "/run/admin"}, ""),
    ({"drainS": -1}, "drainS"),
    ({"drainAfterS": -1}, "drainAfterS"),
    ({"drainS": 1e9}, "drainS"),
    ({"listen": {"inbound": 0}}, "listen.inbound"),
    ({"listen": {"inbound": 65536}}, "listen.inbound"),
    ({"interception": {"checkEveryS": -1}}, "interception.checkEveryS"),
    ({"probes": {"/app-health/a": {"port": "http"}}}, "probes[...].port"),
    ({"accessLog": "yaml"}, "accessLog"),
    ({"workers": 17}, "workers"),
    ({"workers": 0}, "workers"),
    ({"worker": 2}, "worker"),
    ({"snapshot": {"source": "kubernetes"}}, "snapshot.source"),
    ({"snapshot": STREAM["snapshot"]}, "identity"),
    ({"snapshot": STREAM["snapshot"], "identity": STREAM["identity"]}, "podUid"),
    ({"workloadApi": "/run/api"}, "workloadApi"),
    ({"workloadApi": "/run/api", "identity": {"source": "files", "chainFile": "c", "keyFile": "k", "rootsFile": "r"}}, "workloadApi"),
])
def test_refused_with_its_place(changed: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(json.dumps(ALONE | changed).encode())
    assert caught.value.where == where


def test_each_worker_has_its_own_of_what_a_process_writes() -> None:
    written = {
        "workers": 2, "ledger": {"folder": "/run/ledger", "mostBytes": 1 << 20}, "syntheticFile": "/run/synthetic",
        "identity": STREAM["identity"] | {"keepFile": "/run/key"},
    }
    config = parse_config(json.dumps(STREAM | written).encode())
    one, two = (parse_config(msgspec.json.encode(worker_config(config, number))) for number in (1, 2))
    assert (one.worker, two.worker, two.workers) == (1, 2, 2)
    text = msgspec.json.encode(two).decode()
    for path in ("/run/bartizan/admin", "/run/bartizan/snapshot.json", "/run/ledger", "/run/synthetic", "/run/key"):
        assert f'"{path}.2"' in text
        assert f'"{path}"' not in text
    assert isinstance(two.identity, IssuedIdentity)
    assert two.identity.token_file == "/run/token"      # which it reads only
    assert two.ledger is not None
    assert two.ledger.most_bytes == 1 << 19
    assert (one.listen, one.pod_uid) == (config.listen, config.pod_uid)


def test_what_a_worker_does_not_keep_gets_no_name() -> None:
    config = worker_config(parse_config(json.dumps(ALONE | {"workers": 2}).encode()), 1)
    assert (config.admin_socket, config.ledger, config.synthetic_file, config.identity) == ("/run/admin.1", None, None, None)
    assert config.snapshot == SnapshotFile("/etc/snapshot.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_configuration_at_all(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_config(data)
