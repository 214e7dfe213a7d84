import re

from injector.version import own_version


def test_it_is_a_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*|unknown", own_version())
