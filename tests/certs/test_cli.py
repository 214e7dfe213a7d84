"""The verbs as an operator types them: exit status, one line of error, files of mode 0600."""

import json
import os

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import files, rotation
from certs.ca import fingerprint
from certs.cli import main
from certs.log import Log
from certs.profile import issue_svid
from certs.rotation import Phase
from sidecar.model.identity import parse
from sidecar.model.trust import Holder
from sidecar.net.clock import wall_clock

from .support import new_key, openssl_verdict


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
    assert main(["bundle", str(directory), "-o", "spiffe"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [key["use"] for key in said["keys"]] == ["x509-svid"]
    assert said["spiffe_sequence"] == 0     # nothing was published yet


def test_rotate_intermediates(directory, capsys):
    before = files.load(directory)
    assert main(["rotate", str(directory), "--intermediates"]) == 0
    assert "the intermediates now end at" in capsys.readouterr().out
    assert files.load(directory).svid.certificate != before.svid.certificate


def says(capsys, *argv) -> str:
    assert main([str(argument) for argument in argv]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_whole_rotation_by_hand(directory, capsys):
    assert "no root rotation" in says(capsys, "rotate", directory, "--status")
    assert "phase 1 of 3" in says(capsys, "rotate", directory, "--root")
    assert "makes new intermediates anyhow" in fails(capsys, "rotate", directory, "--intermediates")
    assert "under way already" in fails(capsys, "rotate", directory, "--root")
    old, new = files.load(directory).roots
    status = says(capsys, "rotate", directory, "--status")
    assert f"old root {fingerprint(old)}\nnew root {fingerprint(new)}" in status
    assert "--proceed" in status
    assert "phase 2 of 3" in says(capsys, "rotate", directory, "--proceed")
    assert "complete" in says(capsys, "rotate", directory, "--proceed")
    assert files.load(directory).roots == (new,)
    assert "no root rotation" in says(capsys, "rotate", directory, "--status")


def test_a_rotation_that_waits_says_for_whom(directory, capsys):
    says(capsys, "rotate", directory, "--root")
    rotation.hear(directory, Phase.TRUST_BOTH, [Holder("injector", 1 << 62), Holder("shop/dead"), Holder("shop/slow")], 0)
    assert "awaited: shop/slow was not heard of yet" in says(capsys, "rotate", directory, "--status")
    said = says(capsys, "rotate", directory, "--proceed", "--without", "shop/dead")
    assert "phase 1 of 3" in said
    assert "given up: shop/dead" in said
    assert "awaited: shop/dead" not in said
    assert "shop/typo is not awaited" in fails(capsys, "rotate", directory, "--proceed", "--without", "shop/typo")
    assert "phase 2 of 3" in says(capsys, "rotate", directory, "--proceed", "--without", "shop/slow")
    assert "aborted: both" in says(capsys, "rotate", directory, "--abort")
    assert "it belongs to --proceed" in fails(capsys, "rotate", directory, "--abort", "--without", "shop/slow")


WEB = "spiffe://example.org/ns/shop/sa/web"


@pytest.mark.parametrize(("kind", "value", "why"), [
    ("identity", WEB, f"the identity {WEB} was revoked"),
    ("key", "{out}.pem", "its key was revoked"),
    ("serial", "{serial}", "the certificate {serial} was revoked"),
])
def test_revoke_list_lift(directory, tmp_path, capsys, kind, value, why):
    out = tmp_path / "web"
    says(capsys, "issue", directory, "--identity", WEB, "--out", out)
    serial = f"{files.load_certificates(tmp_path / 'web.pem')[0].serial_number:032x}"
    value, why = value.format(out=out, serial=serial), why.format(serial=serial)
    versions = []

    def revoke(*more):
        said = says(capsys, "revoke", directory, f"--{kind}", value, *more)
        versions.append(int(said.split()[-1]))
        return said

    assert "is revoked" in revoke("--reason", "lost")
    assert "was revoked already" in revoke()
    assert "lost" in says(capsys, "revoke", directory, "--list")
    assert f"REVOKED: {why}" in says(capsys, "list", directory)
    shown = says(capsys, "inspect", tmp_path / "web.pem", "--authority", directory)
    assert f"revoked      {why}" in shown
    assert "revoked      no" in shown       # the intermediate
    assert "revoked" not in says(capsys, "inspect", tmp_path / "web.pem")
    assert "is not revoked any more" in revoke("--lift")
    assert "was not revoked" in revoke("--lift")
    assert "REVOKED" not in says(capsys, "list", directory)
    assert says(capsys, "revoke", directory, "--list") == "nobody is revoked\n"
    assert versions[0] == versions[1] < versions[2] == versions[3]


def test_who_is_revoked_is_issued_nothing_by_hand_either(directory, tmp_path, capsys):
    assert main(["revoke", str(directory), "--identity", WEB]) == 0
    capsys.readouterr()
    assert "was revoked" in fails(capsys, "issue", directory, "--identity", WEB, "--out", tmp_path / "web")
    assert not (directory / files.LOG).exists()


def test_a_name_that_nobody_has_is_told(directory, tmp_path, capsys):
    says(capsys, "issue", directory, "--identity", WEB, "--out", tmp_path / "web")
    for kind, name, is_known in (("--identity", WEB, True), ("--identity", WEB + "b", False), ("--pod", "no-such", False)):
        assert main(["revoke", str(directory), kind, name]) == 0
        assert ("nothing was ever issued to it" in capsys.readouterr().err) != is_known


@pytest.mark.parametrize("ending", [".pem", ".key"])
def test_what_cannot_be_handed_out_is_not_written_down(directory, tmp_path, capsys, ending):
    (tmp_path / f"web{ending}").touch()
    assert "exists already" in fails(capsys, "issue", directory, "--identity", WEB, "--out", tmp_path / "web")
    assert "there is no folder" in fails(capsys, "issue", directory, "--identity", WEB, "--out", tmp_path / "none" / "web")
    assert not (directory / files.LOG).exists()


def test_a_root_that_nobody_trusts_makes_no_intermediates(directory, capsys):
    before = (directory / files.ROOT).read_bytes()
    says(capsys, "rotate", directory, "--root")
    says(capsys, "rotate", directory, "--proceed")
    assert "is the new root's key now" in says(capsys, "rotate", directory, "--proceed")
    held = [(directory / name).read_bytes() for name in (files.SVID, files.HTTPS)]
    (directory / files.ROOT).write_bytes(before)
    assert "is no root of" in fails(capsys, "rotate", directory, "--intermediates")
    assert [(directory / name).read_bytes() for name in (files.SVID, files.HTTPS)] == held
    (directory / files.ROOT).unlink()
    assert "--root" in fails(capsys, "rotate", directory, "--intermediates")


def test_a_serial_that_nobody_has(directory, capsys):
    line = fails(capsys, "revoke", directory, "--serial", "ab")
    assert "bartizan certs list" in line
    assert "--force" in line
    assert "is revoked" in says(capsys, "revoke", directory, "--serial", "ab", "--force")
    assert "was not revoked" in says(capsys, "revoke", directory, "--serial", "cd", "--lift")


def test_who_holds_a_key_is_shown(directory, tmp_path, capsys):
    authority, log, now = files.load(directory).svid, Log(directory / files.LOG), wall_clock()
    leaf = issue_svid(authority, new_key().public_key(), parse(WEB), "uid-1", 3600, now, holder="application")
    log.record(leaf, WEB, "uid-1", "10.0.0.7", now, holder="application")
    log.close()
    (tmp_path / "leaf.pem").write_bytes(files.pem_of(leaf))
    assert "key held by  application" in says(capsys, "inspect", tmp_path / "leaf.pem")
    assert "held by the application" in says(capsys, "list", directory)
    says(capsys, "revoke", directory, "--pod", "uid-1")
    assert "REVOKED: the pod uid-1 was revoked" in says(capsys, "list", directory)
    assert "revoked      the pod uid-1 was revoked" in says(capsys, "inspect", tmp_path / "leaf.pem", "--authority", directory)


@pytest.mark.parametrize(("argv", "why"), [
    (["rotate", "{ca}/none", "--root"], "bartizan certs init"),
    (["rotate", "{ca}", "--proceed"], "no root rotation is under way"),
    (["rotate", "{ca}", "--abort"], "no root rotation is under way"),
    (["revoke", "{ca}", "--identity", "spiffe://other.org/ns/a/sa/b"], "not of this authority's trust domain"),
    (["revoke", "{ca}", "--pod", "shop/web-0"], "no pod uid"),
    (["revoke", "{ca}", "--key", "{out}"], "No such file"),
    (["revoke", "{ca}/none", "--pod", "a"], "bartizan certs init"),
    (["issue", "{ca}", "--identity", "spiffe://example.org/web", "--out", "{out}"], "not a SPIFFE ID"),
    (["issue", "{ca}", "--identity", "spiffe://other.org/ns/a/sa/b", "--out", "{out}"], "not of this authority's trust domain"),
    (["issue", "{ca}", "--https", "bank.example", "--out", "{out}"], "not below svc"),
    (["issue", "{ca}/none", "--https", "a.svc", "--out", "{out}"], "bartizan certs init"),
    (["init", "{out}", "--trust-domain", "A B"], "trustDomain"),
    (["init", "{out}", "--trust-domain", "a", "--https-domain", "*"], "httpsDomain"),
    (["inspect", "{ca}/none"], "there is no such file"),
    (["revoke", "{ca}/none", "--list"], "bartizan certs init"),
    (["rotate", "{ca}/none", "--status"], "bartizan certs init"),
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
                                  ["issue", "x", "--out", "y", "--identity", "a", "--https", "b"],
                                  ["rotate", "x"], ["rotate", "x", "--root", "--abort"], ["revoke", "x"],
                                  ["revoke", "x", "--pod", "a", "--serial", "b"]])
def test_wrong_usage(argv, capsys):
    assert main(argv) == 2
    assert "usage: bartizan certs" in capsys.readouterr().err


def test_help(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(verb in said for verb in ("init", "serve", "issue", "inspect", "list", "rotate", "revoke", "bundle", "verify"))
