import pytest

from injector.cli.exits import USAGE
from injector.cli.explain import main


@pytest.mark.parametrize("code", ["BZ0102", "bz0102", "identity-not-allowed", "BZ0703", "egress-not-approved"])
def test_a_code_is_explained_with_cause_and_cure(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([code]) == 0
    out = capsys.readouterr().out
    assert "cause  " in out
    assert "cure   " in out


def test_an_unknown_code_leads_to_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identity-not-alowed"]) == USAGE
    assert "did you mean BZ0102" in capsys.readouterr().err
    assert main(["x"]) == USAGE
    assert "lists them" in capsys.readouterr().err


def test_several_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["BZ0112", "network-policy-out"]) == 0
    first, second = capsys.readouterr().out.split("\n\nBZ0216 ")
    assert first.startswith("BZ0112 network-policy\n")
    assert second.startswith("network-policy-out\n")
    assert main(["BZ0112", "x"]) == USAGE


def test_all_codes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "BZ0101  no-route" in out
    assert "BZ0701  document-invalid" in out
