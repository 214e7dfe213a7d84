"""An identity survives a restart whole, for nobody else to read, or not at all."""

import ast
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import sidecar
from sidecar.control.kept_identity import KeptIdentity, read_kept, write_kept
from sidecar.model.errors import ConfigError
from sidecar.model.trust import Revoked, Trust
from tests.helpers import pki
from tests.helpers.mesh import root
from tests.helpers.pki import WEB

SVID = pki.issue(pki.authority("intermediate", root()), pki.uri(WEB))
TRUST = Trust(7, pki.pem([root().certificate]), "ab" * 32, Revoked(pods=("u-1",)))
KEPT = KeptIdentity(pki.credentials(SVID), TRUST, 1_800_000_000.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_kept(str(tmp_path / "identity.json"), KEPT)
    return tmp_path / "identity.json"


def same_key(one: ec.EllipticCurvePrivateKey, other: ec.EllipticCurvePrivateKey) -> bool:
    return one.private_numbers() == other.private_numbers()


def test_what_was_kept_comes_back(path: Path) -> None:
    kept = read_kept(str(path))
    assert kept is not None
    assert (kept.trust, kept.renew_at) == (TRUST, KEPT.renew_at)
    assert (kept.credentials.identity, kept.credentials.chain) == (WEB, SVID.chain)
    assert kept.credentials.not_after == KEPT.credentials.not_after
    assert same_key(kept.credentials.key, KEPT.credentials.key)
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_was_kept(tmp_path: Path) -> None:
    assert read_kept(str(tmp_path / "identity.json")) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_one_that_others_could_read_is_not_used(mode: int, path: Path) -> None:
    path.chmod(mode)
    with pytest.raises(ConfigError, match="open to others"):
        read_kept(str(path))


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "identity.json").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="Is a directory"):
        read_kept(str(tmp_path / "identity.json"))


def _with(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document | {name: value}


@pytest.mark.parametrize("change", [
    _with("chain", ""), _with("chain", SVID.chain_pem[:300]), _with("chain", 5), _with("key", ""), _with("key", SVID.key_pem[:80]),
    _with("key", pki.Holder(SVID.certificate, ec.generate_private_key(ec.SECP256R1())).key_pem),
    _with("key", pki.Holder(SVID.certificate, pki.weak_key()).key_pem),
    _with("chain", pki.pem([root().certificate])), _with("chain", pki.issue(root()).chain_pem),
    _with("trust", {"version": -1, "roots": ""}), _with("trust", {"version": 1, "roots": "x", "signer": "none"}), _with("trust", None),
    _with("surprise", 1), _with("renewAt", "soon"), lambda _: {}, lambda _: [], lambda _: None,
])
def test_what_is_not_whole_is_not_used(change: Callable[[dict[str, Any]], object], path: Path) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ConfigError) as caught:
        read_kept(str(path))
    assert "PRIVATE" not in str(caught.value)


def test_every_cut_of_the_file_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError):
            read_kept(str(path))


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"[" * 100_000, b"\0" * 100])
def test_what_is_no_text(junk: bytes, path: Path) -> None:
    path.write_bytes(junk)
    with pytest.raises(ConfigError):
        read_kept(str(path))


def test_a_full_disk_leaves_the_one_before(path: Path) -> None:
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_kept(str(path), KEPT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["identity.json"]


def test_this_is_where_the_sidecar_writes_its_key() -> None:
    """Whoever else turns a private key into bytes does it for its own holder: the application's, by the Workload API."""
    folder = Path(sidecar.__path__[0])
    writers = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("private_bytes", "private_numbers", "private_value")
    }
    assert writers - {"control/workload_api.py"} == {"control/kept_identity.py"}
