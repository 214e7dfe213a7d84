"""The authority in a real Secret: printed, created, laid out, changed on both sides at once, and read by an issuer that begins anew."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs import cli, files
from certs.kubernetes import CONFLICT, ApiError, ApiServer
from certs.secret_store import MEMORY, SecretAuthority, SecretStore, read_files
from sidecar.model.errors import ConfigError
from sidecar.net.clock import wall_clock

from .cluster import SYSTEM, Cluster

NAME = "bartizan-authority"     # the one that the issuer's role lets it read and write
PATH = f"/api/v1/namespaces/{SYSTEM}/secrets/{NAME}"


@pytest.fixture
def memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
async def secret(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> str:
    """Its path. Made by the verb, created as kubectl would."""
    try:
        await cluster.delete(PATH, 0)
    except ApiError:
        pass    # the first test finds none
    assert cli.main(["init", "--secret", f"{SYSTEM}/{NAME}", "--trust-domain", "example.org"]) == 0
    await cluster.apply(json.loads(capsys.readouterr().out))
    return PATH


def store(server: ApiServer, directory: Path) -> SecretStore:
    where = {"server": server.server, "ca_file": server.ca_file, "token_file": server.token_file}
    return SecretStore(SecretAuthority(namespace=SYSTEM, name=NAME, copy=str(directory), **where))


async def test_a_round_trip(secret: str, issuer_server: ApiServer, memory: Path) -> None:
    first, second = store(issuer_server, memory / "one"), store(issuer_server, memory / "two")
    await first.begin()
    await second.begin()
    assert files.load(memory / "one").trust_domain == "example.org"

    renewed = files.renew(memory / "one", wall_clock())
    await first.step()
    await second.step()
    assert files.load(memory / "two").svid.certificate == renewed.svid.certificate
    assert read_files(memory / "one") == read_files(memory / "two")

    third = store(issuer_server, memory / "three")
    await third.begin()
    assert files.load(memory / "three").svid.certificate == renewed.svid.certificate


async def test_both_sides_change_at_once(secret: str, issuer_server: ApiServer, memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = store(issuer_server, memory / "one"), store(issuer_server, memory / "two")
    await first.begin()
    await second.begin()
    files.write(memory / "one" / "revoked.json", b"{}", replace=True)
    files.write(memory / "one" / "only-here", b"1")
    files.write(memory / "two" / "revoked.json", b'{"entries": []}', replace=True)
    (memory / "two" / files.ROOT).unlink()
    await first.step()
    await second.step()
    assert "revoked.json was changed here and in the Secret" in capsys.readouterr().err
    await first.step()
    held = read_files(memory / "one")
    assert held == read_files(memory / "two")
    assert (held["revoked.json"], held["only-here"], files.ROOT in held) == (b"{}", b"1", False)


async def test_a_write_behind_a_change_is_refused(secret: str, issuer_server: ApiServer, memory: Path, cluster: Cluster) -> None:
    """The precondition that `step` relies on when it reads again."""
    held = store(issuer_server, memory)
    await held.begin()
    version = (await cluster.admin.get(secret, dict))["metadata"]["resourceVersion"]
    await cluster.admin.patch(secret, {"data": {"x": "eA=="}}, dict)
    with pytest.raises(ApiError) as caught:
        await held._write(version, {}, {"x": b"y"})
    assert caught.value.status == CONFLICT


async def test_nobody_else_may(secret: str, cluster: Cluster, memory: Path) -> None:
    stranger = cluster.server_for(await cluster.token("shop", "web", audience=""))
    with pytest.raises(ConfigError, match="403"):
        await store(stranger, memory).begin()
    assert read_files(memory) == {}
