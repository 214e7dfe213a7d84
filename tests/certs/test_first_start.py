"""An authority is made once: not beside another, not after one that was lost, and not where nobody asked for it."""

import pytest

from certs import files
from certs.first_start import make_authority
from certs.secret_store import SecretAuthority, SecretStore
from sidecar.model.errors import ConfigError
from sidecar.net.clock import wall_clock

from .api_server import api_server, failure
from .support import DOMAIN
from .test_secret_store import memory  # noqa: F401 -- a fixture

SECRETS = "/api/v1/namespaces/bartizan-system/secrets"
ROOTS = "/api/v1/namespaces/bartizan-system/configmaps/roots"


def config(place, copy="/dev/shm/x"):
    where = {"server": place.server, "ca_file": place.ca_file, "token_file": place.token_file}
    return SecretAuthority(
        namespace="bartizan-system", name="authority", copy=str(copy), roots="roots", https_domains=("svc.here",), **where)


async def test_the_first_start_makes_one_that_the_issuer_can_begin_with(tmp_path, memory, capsys):  # noqa: F811
    async with api_server(tmp_path) as (double, place):
        await make_authority(config(place), DOMAIN, wall_clock)
        store = SecretStore(config(place, memory / "copy"))
        await store.begin()
        made = files.load(memory / "copy")
        assert (made.trust_domain, (memory / "copy" / files.ROOT).exists()) == (DOMAIN, True)
        assert "made an authority" in capsys.readouterr().err
        await make_authority(config(place), DOMAIN, wall_clock)     # the second start
    assert len([call for call in double.calls if call.method == "PATCH"]) == 1


async def test_who_is_second_takes_what_the_first_made(tmp_path, capsys):
    async with api_server(tmp_path) as (double, place):
        double.before = lambda call: failure(409, call.path) if call.method == "PATCH" else None
        await make_authority(config(place), DOMAIN, wall_clock)
    assert [call.method for call in double.calls] == ["GET", "GET", "PATCH"]
    assert "made an authority" not in capsys.readouterr().err


async def test_nobody_forces_an_authority_upon_another(tmp_path):
    """Each applies under a manager of its own, so that what the first wrote is a conflict for the second."""
    async with api_server(tmp_path) as (double, place):
        for _ in range(2):
            double.objects.clear()
            await make_authority(config(place), DOMAIN, wall_clock)
    queries = [call.query for call in double.calls if call.method == "PATCH"]
    assert len(set(queries)) == 2
    assert all(query.endswith("&force=false") for query in queries)


async def test_a_lost_authority_is_not_replaced(tmp_path):
    async with api_server(tmp_path) as (double, place):
        double.put(ROOTS, {"data": {"roots.pem": "x"}})
        with pytest.raises(ConfigError, match="restore the Secret from a copy"):
            await make_authority(config(place), DOMAIN, wall_clock)
    assert "PATCH" not in [call.method for call in double.calls]


async def test_roots_are_looked_for_before_the_authority(tmp_path):
    """Or a replica that starts between the other's two writes would think that the authority was lost."""
    async with api_server(tmp_path) as (double, place):
        await make_authority(config(place), DOMAIN, wall_clock)
    assert [call.path for call in double.calls if call.method == "GET"] == [ROOTS, f"{SECRETS}/authority"]


async def test_an_api_server_that_does_not_tell_makes_nothing(tmp_path):
    async with api_server(tmp_path) as (double, place):
        double.before = lambda call: failure(401, call.path)
        with pytest.raises(ConfigError, match="401"):
            await make_authority(config(place), DOMAIN, wall_clock)
    assert [call.method for call in double.calls] == ["GET"]
