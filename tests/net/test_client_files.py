"""Client certificates in files: what is replaced, what is kept, what is forgotten."""

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sidecar.model.egress import ClientCertificate
from sidecar.model.errors import ConfigError
from sidecar.net.client_files import ClientFiles
from sidecar.net.files import LOOK_EVERY_S
from tests.helpers import pki

ROOT = pki.authority("clients")
ONE, OTHER = (pki.issue(ROOT, subject=name, purposes=[pki.CLIENT]) for name in ("one", "other"))


def replace(path: Path, text: str) -> None:
    """As careful writers do."""
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)


@pytest.fixture
def certificate(tmp_path: Path) -> ClientCertificate:
    (tmp_path / "tls.crt").write_text(ONE.chain_pem)
    (tmp_path / "tls.key").write_text(ONE.key_pem)
    return ClientCertificate("own", chain_file=str(tmp_path / "tls.crt"), key_file=str(tmp_path / "tls.key"))


def test_texts_are_taken_as_they_are() -> None:
    files = ClientFiles()
    assert files.material(ClientCertificate("secret", "chain", "key")) == ("chain", "key")
    for missing in (ClientCertificate("secret"), ClientCertificate("secret", chain="chain"), ClientCertificate("secret", key="key"),
                    ClientCertificate("secret", chain_file="/tls.crt"), ClientCertificate("secret", key_file="/tls.key")):
        assert files.material(missing) is None


async def test_files_are_read_again_when_both_belong_together(
    certificate: ClientCertificate, tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ClientFiles()
    before = files.material(certificate)
    assert before == (ONE.chain_pem, ONE.key_pem)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(files.follow)
        for change, text in (("tls.crt", "half a PEM"), ("tls.crt", OTHER.chain_pem)):
            replace(tmp_path / change, text)
            await trio.sleep(2 * LOOK_EVERY_S)
            assert files.material(certificate) is before
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 2, "once for each change"
        assert "holds no certificate" in said[0]
        assert f"the key in {tmp_path}/tls.key is not of the certificate in {tmp_path}/tls.crt" in said[1]
        assert "PRIVATE" not in "".join(said)
        replace(tmp_path / "tls.key", OTHER.key_pem)
        await trio.sleep(2 * LOOK_EVERY_S)
        assert files.material(certificate) == (OTHER.chain_pem, OTHER.key_pem)
        (tmp_path / "tls.key").unlink()
        await trio.sleep(2 * LOOK_EVERY_S)
        assert files.material(certificate) == (OTHER.chain_pem, OTHER.key_pem), "kept"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("name", "text", "words"), [
    ("tls.key", None, "cannot read .*tls.key"), ("tls.crt", None, "cannot read .*tls.crt"), ("tls.crt", "", "holds no certificate"),
    ("tls.key", "", "no usable private key"), ("tls.key", OTHER.key_pem, "is not of the certificate"),
])
def test_what_was_never_usable(certificate: ClientCertificate, tmp_path: Path, name: str, text: str | None, words: str) -> None:
    files, good = ClientFiles(), (tmp_path / name).read_text()
    (tmp_path / name).unlink()
    if text is not None:
        (tmp_path / name).write_text(text)
    for _ in range(2):
        with pytest.raises(ConfigError, match=words):
            files.material(certificate)
    (tmp_path / name).write_text(good)
    assert files.material(certificate) == (ONE.chain_pem, ONE.key_pem), "without a restart"


def test_what_is_named_no_longer_is_forgotten(certificate: ClientCertificate, tmp_path: Path) -> None:
    files = ClientFiles()
    before = files.material(certificate)
    files.keep_only({certificate, ClientCertificate("secret", "chain", "key")})
    assert files.material(certificate) is before
    files.keep_only({ClientCertificate("secret", "chain", "key")})
    assert not files._known, "the key is not even kept"
