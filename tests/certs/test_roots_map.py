"""The ConfigMap of the roots is what the newest trust says, whoever wrote to it."""

import json

import pytest
import trio

from certs import files
from certs.kubernetes import CONFLICT, ApiError
from certs.roots_map import RootsMap
from certs.secret_store import SecretAuthority
from certs.trust import Follower

from .api_server import api_server, failure
from .support import DOMAIN, NOW

PATH = "/api/v1/namespaces/bartizan-system/configmaps/roots"


@pytest.fixture
async def world(tmp_path):
    """The API server, and the map."""
    async with api_server(tmp_path) as (double, place):
        where = {"server": place.server, "ca_file": place.ca_file, "token_file": place.token_file}
        yield double, RootsMap(SecretAuthority(namespace="bartizan-system", name="authority", roots="roots", **where), retry_s=0.01)


def data(double):
    return double.objects[PATH]["data"]


async def test_it_is_made_and_follows(world):
    double, roots = world
    await roots.publish("one", 5)
    assert data(double) == {"roots.pem": "one", "trust-version": "5"}
    await roots.publish("two", 6)
    assert data(double) == {"roots.pem": "two", "trust-version": "6"}
    await roots.publish("two", 6)
    assert [call.method for call in double.calls] == ["GET", "PATCH", "GET", "PATCH", "GET"]


async def test_an_older_trust_does_not_replace_a_newer_one(world):
    double, roots = world
    await roots.publish("new", 6)
    await roots.publish("old", 5)
    assert data(double)["roots.pem"] == "new"


@pytest.mark.parametrize("version", ["5", "4", "", "x", "-1", "9" * 16])
async def test_what_somebody_else_wrote_is_mended(world, version):
    double, roots = world
    await roots.publish("ours", 5)
    double.put(PATH, {"data": {"roots.pem": "theirs", "trust-version": version, "more": "x"}})
    await roots.publish("ours", 5)
    assert data(double) == {"roots.pem": "ours", "trust-version": "5", "more": "x"}


async def test_a_write_behind_a_change_is_refused(world):
    double, roots = world
    await roots.publish("one", 5)
    await roots.publish("two", 6)
    [_, patch] = [json.loads(call.body) for call in double.calls if call.method == "PATCH"]
    double.before = lambda call: failure(409, call.path) if call.method == "PATCH" else None
    with pytest.raises(ApiError) as caught:
        await roots.publish("three", 7)
    assert (caught.value.status, patch["metadata"]["resourceVersion"]) == (CONFLICT, "1")


async def test_it_goes_on_after_what_fails_and_takes_news_at_once(world, tmp_path, capsys):
    double, roots = world
    files.init(tmp_path / "ca", DOMAIN, ["svc"], NOW)
    follower, written = Follower(tmp_path / "ca", lambda: NOW), trio.Event()

    def before(call):
        if len(double.calls) < 3:
            return failure(401, call.path)
        if double.calls[-2].method == "PATCH":
            written.set()
        return None

    double.before = before
    async with trio.open_nursery() as nursery:
        nursery.start_soon(roots.run, follower.standing)
        await written.wait()
        nursery.cancel_scope.cancel()
    assert data(double)["roots.pem"] == follower.standing.current.trust.roots
    assert capsys.readouterr().err.count("the roots are not published") == 1
