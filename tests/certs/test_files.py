import os

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import files
from certs.ca import HTTPS_DOMAINS, INTERMEDIATE_S, create_root
from certs.profile import issue_svid, permitted_domains
from sidecar.model.errors import ConfigError
from sidecar.model.identity import workload_id

from .support import DOMAIN, NOW, new_key, openssl_verdict


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "ca"
    files.init(directory, DOMAIN, HTTPS_DOMAINS, NOW)
    return directory


def test_init_makes_a_directory_that_only_its_owner_reads(directory):
    assert sorted(os.listdir(directory)) == ["https.key", "root.key", "roots.pem", "svid.key"]
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_what_is_loaded_is_what_was_made(tmp_path):
    made = files.init(tmp_path / "ca", DOMAIN, ("internal.example",), NOW)
    loaded = files.load(tmp_path / "ca")
    assert loaded.trust_domain == DOMAIN
    assert loaded.roots == made.roots
    assert loaded.svid.certificate == made.svid.certificate
    assert permitted_domains(loaded.https) == ["internal.example"]
    for authority in (loaded.svid, loaded.https):
        assert openssl_verdict([authority.certificate], loaded.roots, NOW) == ""


def test_the_root_key_can_be_elsewhere(directory):
    (directory / files.ROOT).rename(directory.parent / "root.key")
    files.load(directory)
    with pytest.raises(ConfigError, match=r"root\.key"):
        files.renew(directory, NOW)


@pytest.mark.parametrize("name", [files.ROOT, files.SVID, files.HTTPS, files.ROOTS, files.LOG])
def test_nothing_is_overwritten(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ConfigError, match="exists already"):
        files.init(tmp_path, DOMAIN, HTTPS_DOMAINS, NOW)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize(("domain", "https"), [("Bad Domain", ["svc"]), (DOMAIN, ["*.svc"]), (DOMAIN, [""])])
def test_bad_names_make_nothing(tmp_path, domain, https):
    with pytest.raises(ConfigError):
        files.init(tmp_path / "ca", domain, https, NOW)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
@pytest.mark.parametrize("name", [files.SVID, files.HTTPS])
def test_a_key_open_to_others_is_refused(directory, name, mode):
    (directory / name).chmod(mode)
    with pytest.raises(ConfigError, match=f"{name} is open to others"):
        files.load(directory)


def test_a_key_that_is_not_its_certificates_is_refused(directory):
    path = directory / files.SVID
    certificate = files.load(directory).svid.certificate
    path.write_bytes(files.key_pem_of(new_key()) + files.pem_of(certificate))
    with pytest.raises(ConfigError, match="not that of its certificate"):
        files.load(directory)


def test_an_intermediate_of_another_root_is_refused(directory):
    (directory / files.ROOTS).write_bytes(files.pem_of(create_root(DOMAIN, NOW).certificate))
    with pytest.raises(ConfigError, match="not signed by a root"):
        files.load(directory)


def test_two_roots_are_trusted_during_a_rotation(directory):
    with (directory / files.ROOTS).open("ab") as file:
        file.write(files.pem_of(create_root(DOMAIN, NOW).certificate))
    assert len(files.load(directory).roots) == 2


@pytest.mark.parametrize("name", [files.SVID, files.HTTPS, files.ROOTS])
def test_missing_and_broken_files_are_named(directory, name):
    (directory / name).write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=name):
        files.load(directory)
    (directory / name).unlink()
    with pytest.raises(ConfigError, match=f"{name}.*bartizan certs init"):
        files.load(directory)


def test_renewed_intermediates_are_new_and_trusted(directory):
    old = files.load(directory)
    new = files.renew(directory, NOW + 1000)
    assert new.svid.not_after == NOW + 1000 + INTERMEDIATE_S
    assert new.svid.key.private_numbers() != old.svid.key.private_numbers()
    assert permitted_domains(new.https) == permitted_domains(old.https)
    leaf = issue_svid(old.svid, new_key().public_key(), workload_id(DOMAIN, "a", "b"), "", 3600, NOW + 1000)
    assert openssl_verdict([leaf, old.svid.certificate], new.roots, NOW + 1000) == ""


def test_write_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "key"
    files.write(path, b"one")
    with pytest.raises(ConfigError, match="not overwritten"):
        files.write(path, b"two")
    assert path.read_bytes() == b"one"
    files.write(path, b"three", replace=True)
    assert path.read_bytes() == b"three"
    assert os.listdir(tmp_path) == ["key"]
    with pytest.raises(ConfigError, match="none"):
        files.write(tmp_path / "none" / "key", b"")


def test_a_written_key_can_be_read_by_others_tools():
    key = new_key()
    assert load_pem_private_key(files.key_pem_of(key), None).private_numbers() == key.private_numbers()  # type: ignore[union-attr]


def test_one_changes_the_directory_at_a_time(directory):
    with files.locked(directory):
        with pytest.raises(files.Busy), files.locked(directory, wait=False):
            pass
        files.load(directory)       # reading needs no lock
    with pytest.raises(RuntimeError), files.locked(directory, wait=False):
        raise RuntimeError          # whatever ends it, the lock is free
    with files.locked(directory, wait=False):
        pass
    with pytest.raises(ConfigError, match="bartizan certs init"), files.locked(directory / "none"):
        pass


@pytest.mark.parametrize(("mode", "owner", "process", "is_open"), [
    (0o600, 1000, 1000, False), (0o400, 0, 0, False), (0o640, 1000, 1000, True), (0o440, 0, 0, True), (0o604, 1000, 1000, True),
    (0o440, 0, 1000, False), (0o400, 0, 1000, False),       # a Secret that Kubernetes mounts, with and without fsGroup
    (0o460, 0, 1000, True), (0o444, 0, 1000, True), (0o441, 0, 1000, True), (0o644, 0, 1000, True), (0o440, 1001, 1000, True),
])
def test_who_is_let_in(mode, owner, process, is_open):
    assert files.is_open_to_others(mode, owner, process) is is_open


def test_a_mounted_secret_is_a_directory_of_links(tmp_path):
    """As the kubelet lays it out: svid.key -> ..data/svid.key, ..data -> ..2027_01_15."""
    files.init(tmp_path / "..2027_01_15", DOMAIN, HTTPS_DOMAINS, NOW)
    (tmp_path / "..data").symlink_to("..2027_01_15")
    for path in (tmp_path / "..data").iterdir():
        (tmp_path / path.name).symlink_to(f"..data/{path.name}")
    assert files.load(tmp_path).trust_domain == DOMAIN
    (tmp_path / "..2027_01_15" / files.SVID).chmod(0o644)
    with pytest.raises(ConfigError, match="open to others"):
        files.load(tmp_path)
