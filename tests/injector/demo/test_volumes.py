from pathlib import Path

import pytest

from injector.demo.container import Object
from injector.demo.errors import DemoError
from injector.demo.tokens import TokenSigner
from injector.demo.volumes import Volumes, byte_count

from .support import ADDRESSES, pod

NOW = 1_800_000_000.0
STORED: dict[str, Object] = {
    "ServiceAccount": {"kind": "ServiceAccount", "metadata": {"uid": "a"}},
    "Secret": {"kind": "Secret", "data": {"tls.crt": "Q1JU", "tls.key": "S0VZ"}},
    "ConfigMap": {"kind": "ConfigMap", "data": {"a": "1"}},
}
SPEC = [
    {"name": "scratch", "emptyDir": {}},
    {"name": "token", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "audience": "bartizan", "expirationSeconds": 1000}}]}},
    {"name": "roots", "downwardAPI": {"items": [
        {"path": "roots.pem", "fieldRef": {"fieldPath": "metadata.annotations['bartizan.dev/roots']"}},
        {"path": "all", "fieldRef": {"fieldPath": "metadata.annotations"}}]}},
    {"name": "papers", "secret": {"secretName": "s", "items": [{"key": "tls.crt", "path": "c.pem"}]}},
    {"name": "settings", "configMap": {"name": "c"}},
]


def volumes(folder: Path) -> Volumes:
    return Volumes(folder / "pod", ADDRESSES, TokenSigner("issuer"), lambda kind, namespace, name: STORED.get(kind))


def text(*parts: str) -> str:
    return Path(*parts).read_text()


def listing(path: str) -> dict[str, str]:
    return {file.name: file.read_text() for file in Path(path).iterdir()}


async def test_each_kind_becomes_files(tmp_path: Path) -> None:
    paths = await volumes(tmp_path).make(pod(volumes=SPEC), NOW)
    files = {name: listing(path) for name, path in paths.items()}
    assert files["scratch"] == {}
    assert files["token"]["token"].count(".") == 2
    assert files["roots"] == {"roots.pem": "PEM", "all": 'b="two\\n\\"lines\\""\nbartizan.dev/roots="PEM"'}
    assert files["papers"] == {"c.pem": "CRT"}
    assert files["settings"] == {"a": "1"}


async def test_what_the_kubelet_lays_into_every_pod(tmp_path: Path) -> None:
    made = volumes(tmp_path)
    await made.make(pod(hostAliases=[{"ip": "10.244.0.1", "hostnames": ["a.example", "b.example"]}]), NOW)
    resolv, hosts = (text(mount.source) for mount in made.system_mounts())
    assert "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\n" in resolv
    assert "fd00:244::a\tweb-x2x4z\n10.244.0.1\ta.example b.example\n" in hosts


async def test_a_changed_annotation_shows_in_its_file(tmp_path: Path) -> None:
    made, stored = volumes(tmp_path), pod(volumes=SPEC)
    paths = await made.make(stored, NOW)
    stored["metadata"]["annotations"]["bartizan.dev/roots"] = "NEW PEM"
    made.refresh(stored, NOW)
    assert text(paths["roots"], "roots.pem") == "NEW PEM"


async def test_a_token_is_replaced_at_four_fifths_of_its_life(tmp_path: Path) -> None:
    made, stored = volumes(tmp_path), pod(volumes=SPEC)
    file = (await made.make(stored, NOW))["token"] + "/token"
    first = text(file)
    assert made.refresh(stored, NOW + 799) == NOW + 800
    assert text(file) == first
    made.refresh(stored, NOW + 800)
    assert text(file) != first


@pytest.mark.parametrize(("volume", "message"), [
    ({"name": "v", "hostPath": {"path": "/"}}, "knows no hostPath"),
    ({"name": "v", "projected": {"sources": [{"clusterTrustBundle": {}}]}}, "cannot project clusterTrustBundle"),
])
async def test_other_kinds_are_refused(tmp_path: Path, volume: Object, message: str) -> None:
    with pytest.raises(DemoError, match=message):
        await volumes(tmp_path).make(pod(volumes=[volume]), NOW)


async def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    made = Volumes(tmp_path / "pod", ADDRESSES, TokenSigner("issuer"), lambda *_: None)
    with pytest.raises(DemoError, match="no secret 's' in the pod's namespace"):
        await made.make(pod(volumes=[SPEC[3]]), NOW)


@pytest.mark.parametrize(("quantity", "count"), [("4Mi", 4 << 20), ("1k", 1000), (17, 17), ("2Gi", 2 << 30)])
def test_sizes(quantity: str | int, count: int) -> None:
    assert byte_count(quantity) == count


@pytest.mark.parametrize("quantity", ["", "Mi", "4MiB", "-1", "1.5Gi", "4iM"])
def test_sizes_that_are_none(quantity: str) -> None:
    with pytest.raises(DemoError):
        byte_count(quantity)
