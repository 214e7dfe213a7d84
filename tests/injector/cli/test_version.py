import pytest

from injector.cli.version import main
from injector.version import own_version


def test_it_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == f"bartizan {own_version()}\n"
