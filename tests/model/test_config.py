import json
from typing import Any

import pytest

from sidecar.model import ports
from sidecar.model.config import FileIdentity, IssuedIdentity, SnapshotFile, SnapshotStream, parse_config
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


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_configuration_at_all(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_config(data)
