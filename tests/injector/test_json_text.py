import pytest

from injector.json_text import read_json
from sidecar.model.errors import ConfigError


def test_plain_json_is_read() -> None:
    assert read_json(b'{"a": [1, null, "\\u00e9"]}', 100) == {"a": [1, None, "é"]}
    assert read_json(b"9" * 99, 100) == int("9" * 99)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": 1, "a": 2}', "twice"), (b"[NaN]", "not JSON"), (b"[" * 100_000, "deeper"), (b"[" * 66 + b"]" * 66, "deeper"),
        (b'"\\ud800"', "not JSON"), (b'"\xff"', "not JSON"), (b"", "not JSON"), (b"1 2", "not JSON"), (b" " * 101, "bytes"),
        (b"9" * 99_999, "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"), ("{}".encode("utf-16"), "not JSON"),
    ],
)
def test_what_could_mean_two_things_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_json(data, 100 if words == "bytes" else 10**6)
