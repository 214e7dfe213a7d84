import json

import pytest
import trio

from certs import files
from certs.authenticate import JwksFileAttestor, Refused
from certs.ca import HTTPS_DOMAINS
from certs.server import parse_config, serve
from certs.sources import attestor_of
from certs.token_review import TokenReviewAttestor
from sidecar.model.errors import ConfigError
from sidecar.net.clock import wall_clock
from sidecar.net.dial import Dialer
from sidecar.net.service import call_https

from .api_server import POD_PATH, TOKEN_REVIEWS, api_server, bound_user, pod
from .support import ISSUER, JWKS, NOW, csr_of, new_key
from .test_server import NAME, document


def tokens(tmp_path, **said):
    return parse_config(document(tmp_path, tokens=said)).tokens


def test_published_keys(tmp_path):
    (tmp_path / "jwks.json").write_bytes(JWKS)
    said = {"jwksFile": str(tmp_path / "jwks.json"), "issuer": ISSUER}
    assert tokens(tmp_path, **said) == tokens(tmp_path, source="jwks", **said)
    assert isinstance(attestor_of(tokens(tmp_path, **said)), JwksFileAttestor)


def test_the_api_server(tmp_path):
    assert isinstance(attestor_of(tokens(tmp_path, source="kubernetes")), TokenReviewAttestor)


@pytest.mark.parametrize(("said", "where"), [
    ({"source": "none"}, "tokens.source"),
    ({"source": 1}, "tokens.source"),
    ({"source": "kubernetes", "jwksFile": "x", "issuer": "y"}, "tokens: .*jwksFile"),
    ({"source": "kubernetes", "checkAddress": False}, "tokens: .*checkAddress"),
    ({"source": "kubernetes", "server": "http://x"}, "tokens.server"),
    ({"jwksFile": "x", "issuer": "y", "server": "https://x"}, "tokens: .*server"),
    ({"jwksFile": "x"}, "tokens: .*issuer"),
    ([], "tokens: "),
])
def test_bad_configurations(tmp_path, said, where):
    with pytest.raises(ConfigError, match=where):
        parse_config(document(tmp_path, tokens=said))


async def test_an_address_that_is_not_checked_has_its_reason_told(tmp_path, capsys):
    async with api_server(tmp_path) as (double, place):
        double.users["good"] = bound_user()
        double.put(POD_PATH, pod())
        said = {"source": "kubernetes", "server": place.server, "caFile": place.ca_file, "tokenFile": place.token_file}
        checked = attestor_of(tokens(tmp_path, **said))
        assert capsys.readouterr().err == ""
        with pytest.raises(Refused, match="addressUncheckedBecause"):
            await checked.attest("good", "192.0.2.1", NOW)
        unchecked = attestor_of(tokens(tmp_path, addressUncheckedBecause="behind a load balancer", **said))
        assert "from any address: behind a load balancer" in capsys.readouterr().err
        await unchecked.attest("good", "192.0.2.1", NOW)


async def test_a_pod_gets_its_svid_by_the_api_servers_word_and_none_without_it(tmp_path, capsys):
    authorities = files.init(tmp_path / "ca", "example.org", HTTPS_DOMAINS, wall_clock())
    async with api_server(tmp_path) as (double, place), trio.open_nursery() as nursery:
        said = {"source": "kubernetes", "server": place.server, "caFile": place.ca_file, "tokenFile": place.token_file}
        double.users["good"] = bound_user()
        double.put(POD_PATH, pod(ips=("127.0.0.1",)))
        port = await nursery.start(serve, parse_config(document(tmp_path, tokens=said)))

        async def ask(bearer):
            body = json.dumps({"csr": csr_of(new_key()).decode()}).encode()
            return await call_https(
                Dialer(), ["127.0.0.1"], f"https://{NAME}:{port}/v1/svid", "POST", roots=authorities.roots,
                headers=[(b"authorization", b"Bearer " + bearer)], body=body)

        assert (await ask(b"good")).status == 200
        assert (await ask(b"other")).status == 401
        double.put(POD_PATH, pod(ips=("127.0.0.2",)))
        assert (await ask(b"good")).status == 401
        double.put(POD_PATH, pod(ips=("127.0.0.1",)))
        (tmp_path / "kube-token").write_text("an old one")      # our own is refused: that says nothing of the pod
        answer = await ask(b"good")
        assert (answer.status, b"Unauthorized" in answer.body) == (503, False)
        assert TOKEN_REVIEWS in capsys.readouterr().err     # the operator is told what the caller is not
        nursery.cancel_scope.cancel()
