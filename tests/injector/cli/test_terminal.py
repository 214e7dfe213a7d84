"""What the verbs print: readable, in columns, and nobody else writes to the terminal."""

import argparse

import pytest

from injector.cli.terminal import Paint, add_colour, ago, listed, paint_of, printable, table


def test_columns_are_as_wide_as_what_stands_in_them() -> None:
    assert table(("NAME", "CERT"), [("web-1.shop", "23h"), ("a", "")]) == ["NAME         CERT", "web-1.shop   23h", "a            -"]


def test_a_name_does_not_move_the_cursor() -> None:
    assert table(("NAME",), [("\x1b[2J\rok",)])[1] == r"\x1b[2J\rok"


def test_other_writing_is_shown_as_it_is() -> None:
    assert printable("Müller 東京 €") == "Müller 東京 €"


@pytest.mark.parametrize(("seconds", "text"), [
    (-1, "0s"), (0, "0s"), (119.9, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (36 * 3600, "1d"), (80 * 86400.0, "80d"),
])
def test_ages_are_kubectls(seconds: float, text: str) -> None:
    assert ago(seconds) == text


@pytest.mark.parametrize(("most", "text"), [(1, "a and 2 more"), (2, "a, b and 1 more"), (3, "a, b, c"), (4, "a, b, c")])
def test_a_list_of_many_ends_with_their_number(most: int, text: str) -> None:
    assert listed(["a", "b", "c"], most) == text


def test_no_colours_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    add_colour(parser)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint_of(parser.parse_args([])) == Paint(False)          # captured: no terminal
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert paint_of(parser.parse_args([])) == Paint(True)
    assert paint_of(parser.parse_args(["--no-color"])) == Paint(False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint_of(parser.parse_args([])) == Paint(False)


def test_colours() -> None:
    assert Paint(True)("ok", "green") == "\x1b[32mok\x1b[0m"
    assert Paint(True)("ok", "") == Paint(False)("ok", "green") == "ok"
