"""Questions put to a socket, and answers shown: nobody outside writes to the operator's terminal."""

import json
from pathlib import Path

import pytest

from injector.cli.asking import ask, authority, question, show
from sidecar.model.errors import ConfigError
from sidecar.model.explanation import Explanation, Question, step

REACHED = Explanation((step("approval", "ok", "approved", facts={"rule": "partners/api"}),), "", "digest")
REFUSED = Explanation((step("approval", "refused", "no", code="BZ0201"),), "BZ0201", "digest")


def test_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(REACHED, as_json=False) == 0
    assert capsys.readouterr().out == f"ok       approval      approved\n{'':<22} rule: partners/api\nreached\n"
    assert show(REFUSED, as_json=False) == 1
    assert capsys.readouterr().out.splitlines() == [
        "refused  approval      no [BZ0201]", "not reached; for more: bartizan explain BZ0201"]
    assert show(Explanation(()), as_json=False) == 1        # nobody has judged
    assert show(REFUSED, as_json=True) == 1
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["code"] == "BZ0201"


@pytest.mark.parametrize("hostile", [
    "\x1b[2J\x1b[31mok", "a\rreached", "a\nok  b", "\x9b31m", "\u202eevil", "\u2028", "\x00", "\x7f", "\u200b",
])
def test_nothing_moves_the_cursor(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = Explanation((step("proof", "ok", hostile, code=hostile, facts={hostile: hostile + "x"}),), hostile, "d")
    for as_json in (False, True):
        show(found, as_json=as_json)
        shown = capsys.readouterr().out
        assert all(letter.isprintable() or letter == "\n" for letter in shown)
        assert as_json or len(shown.splitlines()) == 3


@pytest.mark.parametrize(("text", "found"), [
    ("api.partner.example", ("api.partner.example", None)), ("API.example.:8080", ("api.example", 8080)),
    ("[2001:db8::1]:443", ("[2001:db8::1]", 443)),
])
def test_a_host_with_its_port(text: str, found: tuple[str, int | None]) -> None:
    assert authority(text) == found


@pytest.mark.parametrize("text", ["", "a b", "a:0", "a:99999", "http://a", "a/b", "é.example", "0177.1"])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ConfigError):
        authority(text)


def test_a_question_that_is_none() -> None:
    assert question("a", 80, "auto", "POST", "/") == Question("a", 80, method="POST")
    for method, path in (("get", "/"), ("GET", "x"), ("GET", "/ x")):
        with pytest.raises(ConfigError):
            question("a", 80, "auto", method, path)
    with pytest.raises(ConfigError):
        question("a", 80, "plain", "POST", "/", sends=True)


def test_where_no_injector_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stateDirectory of a running injector"):
        ask(tmp_path, "shop/web", Question("a", 80))


@pytest.mark.parametrize(("text", "words"), [
    ("https://api.partner.example/", "`bartizan verify` takes a URL"), ("a b", "not a host name"), ("a:99999", "port 99999 is above 65535"),
])
def test_what_is_no_host_is_named_as_it_was_written(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as failed:
        authority(text)
    assert str(failed.value).startswith(f"HOST: {text!r}: ")
