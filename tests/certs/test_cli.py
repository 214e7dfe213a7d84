"""The verbs as an operator types them: exit status, one line of error, files of mode 0600."""

import os

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import files
from certs.cli import main
from certs.log import Log
from sidecar.net.clock import wall_clock

from .support import openssl_verdict


@pytest.fixture
def directory(tmp_path, capsys):
    assert main(["init", str(tmp_path / "ca"), "--trust-domain", "example.org"]) == 0
    assert "example.org" in capsys.readouterr().out
    return tmp_path / "ca"


def fails(capsys, *argv) -> str:
    """The one line that it says, without the name in front."""
    assert main([str(argument) for argument in argv]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bartizan: ")
    assert err.count("\n") == 1
    return err.removeprefix("bartizan: ")


def test_init_twice(directory, capsys):
    assert "exists already" in fails(capsys, "init", directory, "--trust-domain", "example.org")


@pytest.mark.parametrize(("wanted", "said"), [
    (["--identity", "spiffe://example.org/ns/shop/sa/web"], "spiffe://example.org/ns/shop/sa/web"),
    (["--https", "webhook.bartizan-system.svc", "--https", "webhook.bartizan-system.svc.cluster.local"], "dns:webhook"),
])
def test_issue_list_verify_inspect(directory, tmp_path, capsys, wanted, said):
    assert main(["issue", str(directory), *wanted, "--out", str(tmp_path / "web"), "--lifetime-s", "3600"]) == 0
    assert said in capsys.readouterr().out
    chain = files.load_certificates(tmp_path / "web.pem")
    assert openssl_verdict(chain, files.load(directory).roots, wall_clock()) == ""
    key = load_pem_private_key((tmp_path / "web.key").read_bytes(), None)
    assert key.public_key() == chain[0].public_key()
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("web.pem", "web.key")} == {0o600}

    serial = f"{chain[0].serial_number:032x}"
    assert main(["list", str(directory)]) == 0
    listed = capsys.readouterr().out
    assert serial in listed
    assert said in listed
    assert "operator" in listed

    assert main(["inspect", str(tmp_path / "web.pem")]) == 0
    shown = capsys.readouterr().out
    assert serial in shown
    assert shown.index("leaf") < shown.index("authority")
    assert "ENDED" not in shown

    assert main(["verify", str(directory)]) == 0
    assert "1 certificates, chain unbroken" in (verdict := capsys.readouterr().out)
    assert main(["verify", str(directory), "--head", verdict.split()[-1]]) == 0


def test_a_broken_log_is_one_line(directory, tmp_path, capsys):
    for name in ("a", "b"):
        assert main(["issue", str(directory), "--https", f"{name}.svc", "--out", str(tmp_path / name)]) == 0
    capsys.readouterr()
    log = directory / files.LOG
    log.write_text(log.read_text().replace("dns:a.svc", "dns:x.svc"))
    assert "line 2 does not follow" in fails(capsys, "verify", directory)
    assert "line 2 does not follow" in fails(capsys, "issue", directory, "--https", "c.svc", "--out", tmp_path / "c")
    assert not (tmp_path / "c.key").exists()


def test_bundle(directory, capsys):
    assert main(["bundle", str(directory)]) == 0
    assert capsys.readouterr().out == (directory / files.ROOTS).read_text()


def test_rotate_intermediates(directory, capsys):
    before = files.load(directory)
    assert main(["rotate", str(directory), "--intermediates"]) == 0
    assert "the intermediates now end at" in capsys.readouterr().out
    assert files.load(directory).svid.certificate != before.svid.certificate


@pytest.mark.parametrize(("argv", "why"), [
    (["issue", "{ca}", "--identity", "spiffe://example.org/web", "--out", "{out}"], "not a SPIFFE ID"),
    (["issue", "{ca}", "--identity", "spiffe://other.org/ns/a/sa/b", "--out", "{out}"], "not of this authority's trust domain"),
    (["issue", "{ca}", "--https", "bank.example", "--out", "{out}"], "not below svc"),
    (["issue", "{ca}/none", "--https", "a.svc", "--out", "{out}"], "bartizan certs init"),
    (["init", "{out}", "--trust-domain", "A B"], "trustDomain"),
    (["init", "{out}", "--trust-domain", "a", "--https-domain", "*"], "httpsDomain"),
    (["inspect", "{ca}/none"], "No such file"),
    (["inspect", "/dev/null"], "no certificate"),
    (["list", "{ca}/none"], "No such file"),
    (["verify", "{ca}", "--head", "00"], "No such file"),
    (["bundle", "{ca}/none"], "No such file"),
    (["serve", "--config", "{ca}/none"], "No such file"),
    (["serve", "--config", "/dev/null"], "/dev/null"),
])
def test_failures_are_one_line(directory, tmp_path, capsys, argv, why):
    line = fails(capsys, *(text.format(ca=directory, out=tmp_path / "out") for text in argv))
    assert why in line
    assert os.listdir(tmp_path) == ["ca"]


def test_issue_while_the_issuer_runs(directory, tmp_path, capsys):
    log = Log(directory / files.LOG)
    assert "another process" in fails(capsys, "issue", directory, "--https", "a.svc", "--out", tmp_path / "a")
    log.close()
    assert os.listdir(tmp_path) == ["ca"]


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["init", "x"], ["issue", "x", "--out", "y"], ["serve"],
                                  ["issue", "x", "--out", "y", "--identity", "a", "--https", "b"]])
def test_wrong_usage(argv, capsys):
    assert main(argv) == 2
    assert "usage: bartizan certs" in capsys.readouterr().err


def test_help(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(verb in said for verb in ("init", "serve", "issue", "inspect", "list", "rotate", "revoke", "bundle", "verify"))
