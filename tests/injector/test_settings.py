import msgspec
import pytest

from certs.ca import HTTPS_DOMAINS
from injector.settings import Settings
from sidecar.net.service import split_url


def test_settings_are_read_from_json() -> None:
    settings = msgspec.json.decode(b'{"image": "registry.example/bartizan:1", "bypass": "mark"}', type=Settings)
    assert (settings.image, settings.bypass, settings.mark) == ("registry.example/bartizan:1", "mark", 1337)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="imagePolicy"):
        msgspec.json.decode(b'{"imagePolicy": "Always"}', type=Settings)


@pytest.mark.parametrize("url", [Settings().issuer_url, Settings().stream_url])
def test_the_issuer_can_certify_the_control_planes_names(url: str) -> None:
    """It signs DNS names below its domains only."""
    host, _, _ = split_url(url)
    assert any(host.endswith(f".{domain}") for domain in HTTPS_DOMAINS)
