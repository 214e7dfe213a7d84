"""What the control plane signed, it and nobody else signed."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from injector.countersign import PUBLIC, Signer, load_keys, why_not_signed
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Countersignature

HEAD = "ab" * 32


def opened(folder: Path) -> Signer:
    return Signer.open(folder / "countersign.key", folder)


def keys(folder: Path) -> dict[str, object]:
    return load_keys((folder / PUBLIC).read_bytes(), PUBLIC)    # type: ignore[return-value]


def test_signed_and_verified(tmp_path: Path) -> None:
    signed = opened(tmp_path).sign("uid-1", HEAD, 7, 1_700_000_000.123456)
    assert (signed.pod, signed.head, signed.count) == ("uid-1", HEAD, 7)
    assert why_not_signed(signed, keys(tmp_path)) == ""     # type: ignore[arg-type]
    assert (tmp_path / "countersign.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", [
    {"pod": "uid-2"}, {"head": "ba" * 32}, {"count": 8}, {"time": 1_700_000_001.0}, {"signature": "MAA="}, {"signature": "%"},
    {"signature": ""}, {"key": "00" * 32}, {"key": ""},
])
def test_whatever_is_changed_of_it_is_noticed(change: dict[str, object], tmp_path: Path) -> None:
    signed: Countersignature = replace(opened(tmp_path).sign("uid-1", HEAD, 7, 1_700_000_000.0), **change)
    assert why_not_signed(signed, keys(tmp_path)) != ""     # type: ignore[arg-type]


def test_another_start_signs_with_the_same_key(tmp_path: Path) -> None:
    one, two = (opened(tmp_path).sign("uid-1", HEAD, 7, 1.0) for _ in range(2))
    assert one.key == two.key
    assert len(keys(tmp_path)) == 1


def test_a_lost_key_is_said_and_what_it_signed_can_still_be_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = opened(tmp_path).sign("uid-1", HEAD, 7, 1.0)
    (tmp_path / "countersign.key").unlink()
    new = opened(tmp_path).sign("uid-1", HEAD, 7, 1.0)
    assert "another key than before" in capsys.readouterr().err
    assert old.key != new.key
    assert why_not_signed(old, keys(tmp_path)) == why_not_signed(new, keys(tmp_path)) == ""     # type: ignore[arg-type]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "countersign.key").chmod(0o640)
    with pytest.raises(ConfigError, match="open to others"):
        opened(tmp_path)


@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_holds_no_key(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "countersign.key").write_bytes(text)
    (tmp_path / "countersign.key").chmod(0o600)
    with pytest.raises(ConfigError, match="no private key"):
        opened(tmp_path)
    with pytest.raises(ConfigError):
        load_keys(text, "it")
