import msgspec
import pytest

from injector.settings import Settings


def test_settings_are_read_from_json() -> None:
    settings = msgspec.json.decode(b'{"image": "registry.example/bartizan:1", "bypass": "mark"}', type=Settings)
    assert (settings.image, settings.bypass, settings.mark) == ("registry.example/bartizan:1", "mark", 1337)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="imagePolicy"):
        msgspec.json.decode(b'{"imagePolicy": "Always"}', type=Settings)
