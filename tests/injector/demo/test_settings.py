import json

import pytest

from certs import server as issuer
from injector.config import parse_config
from injector.demo import settings


@pytest.mark.parametrize("bypass", ["uid", "mark"])
def test_issuer_and_injector_take_their_configuration(bypass: str) -> None:
    assert issuer.parse_config(json.dumps(settings.issuer_config()).encode()).port == settings.ISSUER_PORT
    taken = parse_config(json.dumps(settings.injector_config(bypass)).encode())
    assert (taken.webhook_port, taken.bypass) == (settings.WEBHOOK_PORT, bypass)


def test_every_name_that_is_told_to_sidecars_has_an_address() -> None:
    names = settings.control_plane_names()
    config = settings.injector_config("uid")
    for url in (config["issuerUrl"], config["streamUrl"]):
        assert names[url.removeprefix("https://").partition(":")[0]] == ["10.244.0.1", "fd00:244::1"]
