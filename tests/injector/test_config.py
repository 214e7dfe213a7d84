from typing import Any

import msgspec
import pytest

from certs.kubernetes import ApiServer
from injector.config import InjectorConfig, issuer_of, parse_config
from injector.settings import Settings
from sidecar.model.errors import ConfigError
from sidecar.net.service import split_url

NEEDED = dict.fromkeys(("directory", "trustDomain", "rootsFile", "issuerUrl", "streamUrl", "stateDirectory"), "x")
FILES = {"chainFile": "c", "keyFile": "k"}


def parse(**more: Any) -> InjectorConfig:
    return parse_config(msgspec.json.encode(NEEDED | more))


def test_sidecars_ask_where_the_injector_listens() -> None:
    assert split_url(Settings().stream_url)[1] == parse(**FILES).stream_port


def test_the_certificate_comes_from_the_issuer_or_from_files() -> None:
    assert parse(tokenFile="t").chain_file is None
    assert parse(**FILES).token_file is None


@pytest.mark.parametrize("given", [
    {}, {"chainFile": "c"}, {"keyFile": "k"}, {"tokenFile": "t", **FILES}, {"tokenFile": "t", "keyFile": "k"},
])
def test_it_comes_from_just_one_of_the_two(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="tokenFile"):
        parse(**given)


def test_whom_the_issuer_is_known_by() -> None:
    assert issuer_of(parse(**FILES)) == "spiffe://x/ns/bartizan-system/sa/bartizan-issuer"
    named = "spiffe://x/ns/security/sa/issuer"
    assert issuer_of(parse(**FILES, issuerIdentity=named)) == named


@pytest.mark.parametrize("days", [0, 91])
def test_a_profile_looks_back_some_days(days: int) -> None:
    assert parse(**FILES, learningDays=30).learning_days == 30
    with pytest.raises(ConfigError, match="learningDays"):
        parse(**FILES, learningDays=days)


def test_an_api_server_is_told_only_if_it_is_named() -> None:
    assert parse(**FILES).kubernetes is None
    assert parse(**FILES, kubernetes={}).kubernetes == ApiServer()


def test_objects_come_from_a_directory_or_from_the_api_server() -> None:
    without = {name: value for name, value in NEEDED.items() if name != "directory"} | FILES
    assert parse_config(msgspec.json.encode(without | {"kubernetes": {}})).directory is None
    with pytest.raises(ConfigError, match="nothing to read objects from"):
        parse_config(msgspec.json.encode(without))


@pytest.mark.parametrize(("given", "where"), [({"issuerIdentity": "issuer"}, "issuerIdentity"), ({"trustDomain": "X"}, "trustDomain")])
def test_an_issuer_that_nobody_can_be_is_refused(given: dict[str, str], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        parse(**FILES, **given)
