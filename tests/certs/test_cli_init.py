import json

import pytest

from certs import files
from certs.ca import HTTPS_DOMAINS
from certs.cli import main
from sidecar.net.clock import wall_clock

from .support import DOMAIN


def test_a_secret_is_printed_and_nothing_else(capsys):
    assert main(["init", "--secret", "bartizan-system/authority", "--trust-domain", DOMAIN]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert sorted(printed["data"]) == ["https.key", "root.key", "roots.pem", "svid.key"]
    assert (printed["kind"], printed["metadata"]["name"]) == ("Secret", "authority")


@pytest.mark.parametrize(("arguments", "status", "why"), [
    (["--secret", "authority"], 1, "NAMESPACE/NAME"),
    (["--secret", "a/b", "DIR"], 2, "not allowed with"),
    ([], 2, "one of the arguments"),
    (["DIR", "--root-key", "k"], 1, "--root-certificate: "),
    (["DIR", "--root-certificate", "r"], 1, "--root-certificate: "),
    (["DIR", "--root-certificate", "r", "--root-key", "k", "--svid-key", "s"], 1, "--root-certificate: "),
    (["DIR", "--svid-certificate", "r"], 1, "--root-certificate: "),
    (["DIR", "--root-certificate", "none", "--root-key", "none"], 1, "none: No such file"),
])
def test_what_is_not_understood(tmp_path, capsys, monkeypatch, arguments, status, why):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--trust-domain", DOMAIN, *arguments]) == status
    told = capsys.readouterr()
    assert (why in told.err, told.out, list(tmp_path.iterdir())) == (True, "", [])


def test_a_root_that_is_brought_along(tmp_path, capsys):
    elsewhere = files.init(tmp_path / "elsewhere", DOMAIN, HTTPS_DOMAINS, wall_clock())
    brought = ["--trust-domain", DOMAIN, "--root-certificate", str(tmp_path / "elsewhere" / files.ROOTS)]
    root = tmp_path / "elsewhere" / files.ROOT      # key and certificate in one file: it can be given for both
    assert main(["init", str(tmp_path / "a"), *brought, "--root-key", str(root)]) == 0
    assert files.load(tmp_path / "a").roots == elsewhere.roots
    told = capsys.readouterr()
    assert (told.err.count("bartizan: note: "), "keep it elsewhere" in told.out) == (1, True)

    pairs = [word for kind in ("svid", "https") for part in ("certificate", "key")
             for word in (f"--{kind}-{part}", str(tmp_path / "elsewhere" / f"{kind}.key"))]
    assert main(["init", str(tmp_path / "b"), *brought, *pairs]) == 0
    assert files.load(tmp_path / "b").svid.certificate == elsewhere.svid.certificate
    told = capsys.readouterr()
    assert (told.err.count("bartizan: note: "), "keep it elsewhere" in told.out) == (1, False)
