from pathlib import Path

from injector.bench.certificates import write_certificates
from injector.bench.layout import SERVER
from sidecar.control.file_identity import load_credentials
from sidecar.model.config import FileIdentity

NOW = 1_700_000_000.0


def test_the_sidecar_takes_them_and_keys_are_private(tmp_path: Path) -> None:
    write_certificates(tmp_path, NOW, ["a.bench.example"])
    files = FileIdentity(*(str(tmp_path / name) for name in ("server.pem", "server.key", "roots.pem")))
    assert load_credentials(files)[0].identity == SERVER
    for name in ("server.key", "client.key", "client.both.pem"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert (tmp_path / "client.both.pem").read_bytes() == (tmp_path / "client.pem").read_bytes() + (tmp_path / "client.key").read_bytes()
