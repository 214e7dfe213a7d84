"""Credentials from files: taken as a whole, or the file that is wrong is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from sidecar.control.file_identity import load_credentials
from sidecar.model.config import FileIdentity
from sidecar.model.errors import ConfigError
from tests.helpers import pki
from tests.helpers.mesh import root
from tests.helpers.pki import DOMAIN, WEB

INTERMEDIATE = pki.authority("intermediate", root())
SVID = pki.issue(INTERMEDIATE, pki.uri(WEB))


def written(folder: Path, **changed: str | bytes) -> FileIdentity:
    texts: dict[str, str | bytes] = {"chain": SVID.chain_pem, "key": SVID.key_pem, "roots": pki.pem([root().certificate])}
    for name, text in (texts | changed).items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return FileIdentity(str(folder / "chain"), str(folder / "key"), str(folder / "roots"))


def test_what_belongs_together_is_taken(tmp_path: Path) -> None:
    found, roots = load_credentials(written(tmp_path))
    assert (found.identity, found.trust_domain) == (WEB, DOMAIN)
    assert found.chain == (SVID.certificate, INTERMEDIATE.certificate)
    assert roots == pki.pem([root().certificate])
    assert found.not_after == SVID.certificate.not_valid_after_utc.timestamp()


def _locked() -> bytes:
    return SVID.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))


def _svid(*names: str, **more: object) -> Callable[[], dict[str, str | bytes]]:
    def make() -> dict[str, str | bytes]:
        holder = pki.issue(INTERMEDIATE, *(pki.uri(name) for name in names), **more)    # type: ignore[arg-type]
        return {"chain": holder.chain_pem, "key": holder.key_pem}

    return make


@pytest.mark.parametrize(("changed", "where"), [
    (lambda: {"chain": ""}, "identity.chainFile"),
    (lambda: {"chain": SVID.chain_pem[:400]}, "identity.chainFile"),
    (lambda: {"roots": "nothing"}, "identity.rootsFile"),
    (lambda: {"key": SVID.key_pem[:100]}, "identity.keyFile"),
    (lambda: {"key": b"\xff\xfe"}, "identity.keyFile"),
    (lambda: {"key": _locked()}, "identity.keyFile"),
    (lambda: {"key": pki.Holder(SVID.certificate, pki.weak_key()).key_pem}, "identity.keyFile"),
    (lambda: {"key": pki.Holder(SVID.certificate, ec.generate_private_key(ec.SECP256R1())).key_pem}, "identity.chainFile"),
    (lambda: {"chain": pki.pem([INTERMEDIATE.certificate, SVID.certificate])}, "identity.chainFile"),
    (lambda: {"chain": pki.issue(root(), pki.uri(WEB), key=pki.weak_key()).chain_pem}, "identity.chainFile"),
    (_svid(), "identity.chainFile"),
    (_svid(WEB, "spiffe://example.org/ns/shop/sa/root"), "identity.chainFile"),
    (_svid("https://example.org/ns/shop/sa/web"), "identity.chainFile"),
    (_svid("spiffe://example.org/ns/shop"), "identity.chainFile"),
    (_svid(WEB, is_ca=True), "identity.chainFile"),
])
def test_what_is_wrong_is_named(changed: Callable[[], dict[str, str | bytes]], where: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_credentials(written(tmp_path, **changed()))
    assert caught.value.where == where
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("name", ["chain", "key", "roots"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    files = written(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=f"identity.{name}File: cannot read .*{name}: No such file"):
        load_credentials(files)
