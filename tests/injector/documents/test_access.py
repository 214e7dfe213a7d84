"""`authentication` and `authorization`: what they say in few words, and that the README leaves out none of them."""

import re
from pathlib import Path

import msgspec
import pytest

from injector.documents.access import ApiKeys, Authentication, Authorization, Basic, Client, ClientCertificate, External
from sidecar.model.route import Jwt

README = (Path(__file__).parents[3] / "examples" / "ingress" / "README.md").read_text(encoding="utf-8")
TEXT = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
WORDS = {word for code in re.findall(r"`([^`\n]+)`", TEXT) for word in re.findall(r"\w+", code)}


@pytest.mark.parametrize("kind", [Authentication, Authorization, Client, External, ClientCertificate, Basic, ApiKeys, Jwt])
def test_the_readme_leaves_out_no_field(kind: type[msgspec.Struct]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(kind)} - WORDS == set()


def test_one_token_or_several() -> None:
    login = Jwt("https://login.example", ("shop",))
    assert Authentication(jwt=login).tokens == Authentication(jwt=(login,)).tokens == (login,)
    assert Authentication().tokens == ()


def test_an_authorizer_alone_is_no_way_to_say_who_one_is() -> None:
    assert not Authentication(external=External(host="auth.example")).has_ways
    assert Authentication(basic=Basic("users")).has_ways
