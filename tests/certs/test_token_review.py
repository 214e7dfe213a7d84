"""Who the API server speaks for, and whose pod lives and has the caller's address, is attested; nobody else is, and nothing is guessed."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from certs.authenticate import Attestation, CannotTell, Refused
from certs.kubernetes import Api, ApiServer
from certs.token_review import TokenReviewAttestor, User, bound_pod
from sidecar.model.call import Answer

from .api_server import ADDRESS, POD_PATH, TOKEN_REVIEWS, ApiServerDouble, api_server, bound_user, failure, pod
from .support import NOW, POD_UID

WEB = Attestation("shop", "web", "web-0", POD_UID)
ENDED = "2027-01-15T08:00:00Z"      # NOW


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[tuple[ApiServerDouble, ApiServer]]:
    async with api_server(tmp_path) as (double, config):
        double.users["good"] = bound_user()
        double.put(POD_PATH, pod())
        yield double, config


def attest(config, token="good", remote=ADDRESS, **options):
    return TokenReviewAttestor(Api(config), "bartizan", **options).attest(token, remote, NOW)


@pytest.mark.parametrize("made", [
    pod(), pod("Pending"), pod(ips=("fd00::7", ADDRESS)), pod(ips=("::ffff:10.244.0.7",)), pod(ends="2027-01-15T08:00:01Z"),
])
async def test_attested(world, made):
    double, config = world
    double.put(POD_PATH, made)
    assert await attest(config) == WEB
    assert b'"audiences":["bartizan"]' in double.calls[0].body


@pytest.mark.parametrize(("made", "why"), [
    (pod(uid="another"), "another has its name"),
    (pod(account="vault"), "another service account"),
    (pod("Succeeded"), "phase Succeeded"),
    (pod("Failed"), "phase Failed"),
    (pod("Unknown"), "phase Unknown"),
    (pod(""), "phase none"),
    (pod(ends=ENDED), "grace has ended"),
    (pod(ips=("10.244.0.8", "fd00::8")), r"from 10\.244\.0\.7.*10\.244\.0\.8, fd00::8"),
])
async def test_refused_for_its_pod(world, made, why):
    double, config = world
    double.put(POD_PATH, made)
    with pytest.raises(Refused, match=why):
        await attest(config)


async def test_nothing_of_it_is_remembered(world):
    """A token that was good a moment ago is not, once its pod is gone."""
    double, config = world
    attestor = TokenReviewAttestor(Api(config), "bartizan")
    assert await attestor.attest("good", ADDRESS, NOW) == WEB
    del double.objects[POD_PATH]
    with pytest.raises(Refused, match="its pod is gone"):
        await attestor.attest("good", ADDRESS, NOW)


async def test_an_address_may_be_left_unchecked(world):
    double, config = world
    assert await attest(config, remote="192.0.2.1", checks_address=False) == WEB
    double.put(POD_PATH, pod(ips=()))
    assert await attest(config, checks_address=False) == WEB
    with pytest.raises(CannotTell, match="no address yet"):
        await attest(config)


@pytest.mark.parametrize("review", [
    {}, {"authenticated": False, "user": bound_user(), "audiences": ["bartizan"]}, {"error": "invalid bearer token", "user": {}},
    {"authenticated": True, "user": bound_user()},
    {"authenticated": True, "user": bound_user(), "audiences": []},
    {"authenticated": True, "user": bound_user(), "audiences": ["https://kubernetes.default.svc.cluster.local"]},
])
async def test_refused_by_its_review(world, review):
    double, config = world
    answer = Answer(201, msgspec.json.encode({"status": review}))
    double.before = lambda call: answer if call.path == TOKEN_REVIEWS else None
    with pytest.raises(Refused, match=r"does not know it|another audience"):
        await attest(config)
    assert len(double.calls) == 1


@pytest.mark.parametrize("asked", [TOKEN_REVIEWS, POD_PATH])
@pytest.mark.parametrize("answer", [
    failure(401, ""), Answer(403, b"{}"), Answer(429), Answer(500), Answer(503, b"etcd is away"), Answer(200, b"{}"), Answer(200, b"<"),
    Answer(200, b'{"metadata": {"uid": 1}, "status": 1}'),
], ids=lambda answer: f"{answer.status}-{len(answer.body)}")
async def test_an_api_server_that_does_not_say_is_not_guessed_for(world, asked, answer):
    double, config = world
    double.before = lambda call: answer if call.path == asked else None
    with pytest.raises(CannotTell):
        await attest(config)


@pytest.mark.parametrize(("user", "why"), [
    (bound_user(pod_uid=None), "bound to no pod"),
    (bound_user(pod_name=None), "bound to no pod"),
    (bound_user(pod_uid=[]), "bound to no pod"),
    (bound_user(pod_uid=["a", "b"]), "bound to no pod"),
    (bound_user(pod_name=["web-0", "web-1"]), "bound to no pod"),
    (bound_user(pod_uid=[""]), "pod uid"),
    (bound_user(pod_uid=["a\n"]), "pod uid"),
    (bound_user(pod_name=["../secrets/a"]), "pod's name"),
    (bound_user(pod_name=["web-0/status"]), "pod's name"),
    (bound_user(pod_name=["web-0?x"]), "pod's name"),
    (bound_user(account="a/b"), "no Kubernetes name"),
    (bound_user(account="a:b"), "no Kubernetes name"),
    (bound_user(account=""), "no Kubernetes name"),
    (bound_user() | {"username": "system:serviceaccount:shop"}, "no service account's"),
    (bound_user() | {"username": "system:serviceaccount:../kube-system:web"}, "no Kubernetes name"),
    (bound_user() | {"username": "system:node:one"}, "no service account's"),
    (bound_user() | {"username": "shop:web"}, "no service account's"),
    (bound_user() | {"username": ""}, "no service account's"),
    ({}, "no service account's"),
])
def test_users_that_are_no_pod(user, why):
    with pytest.raises(Refused, match=why):
        bound_pod(msgspec.convert(user, User))
