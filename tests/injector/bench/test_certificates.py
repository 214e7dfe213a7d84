from pathlib import Path

from cryptography import x509

from injector.bench.certificates import write_certificates
from injector.bench.layout import SERVER, host_name
from injector.bench.world import HOST_COUNTS
from sidecar.control.file_identity import load_credentials
from sidecar.model.config import FileIdentity
from sidecar.net.verify import chain_error
from sidecar.net.verify_host import verify_host

NOW = 1_700_000_000.0


def test_the_sidecar_takes_them_and_keys_are_private(tmp_path: Path) -> None:
    write_certificates(tmp_path, NOW, ["a.bench.example"])
    files = FileIdentity(*(str(tmp_path / name) for name in ("server.pem", "server.key", "roots.pem")))
    assert load_credentials(files)[0].identity == SERVER
    for name in ("server.key", "client.key", "client.both.pem"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    assert (tmp_path / "client.both.pem").read_bytes() == (tmp_path / "client.pem").read_bytes() + (tmp_path / "client.key").read_bytes()


def test_the_host_outside_has_all_its_names(tmp_path: Path) -> None:
    names = [host_name(count - 1) for count in HOST_COUNTS]
    write_certificates(tmp_path, NOW, names)
    leaf, issuer = x509.load_pem_x509_certificates((tmp_path / "outside.pem").read_bytes())
    (root,) = x509.load_pem_x509_certificates((tmp_path / "roots.pem").read_bytes())
    assert chain_error([leaf, issuer], [root], NOW) == ""
    for name in names:
        verify_host(leaf, name)
    assert (tmp_path / "outside.key").stat().st_mode & 0o077 == 0
