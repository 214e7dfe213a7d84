"""Every request for our signer gets its SVID or a refusal, once, by what the API server says of who made it; or waits."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from certs.authenticate import Attestation, CannotTell
from certs.csr_signer import BURST, REQUESTS, SIGNER, CsrSigner
from certs.issuer import Forbidden
from certs.kubernetes import Api, ApiError
from certs.log import LogError
from certs.request import BadRequest
from sidecar.model.call import Answer
from sidecar.model.errors import MeshError

from .api_server import POD_PATH, ApiServerDouble, api_server, bound_user, failure, pod
from .support import NOW, POD_UID


@dataclass
class Issued:
    chain: list[str]


@dataclass
class World:
    """What was asked of the issuer; `fails` is raised instead of an answer."""

    double: ApiServerDouble
    api: Api
    asked: list[tuple[Attestation, str, str, str]] = field(default_factory=list)
    fails: MeshError | None = None

    def __post_init__(self) -> None:
        self.signer = CsrSigner(self.api, self.issue, lambda: NOW)

    def issue(self, pod, csr, requester, holder):
        if self.fails is not None:
            raise self.fails
        self.asked.append((pod, csr, requester, holder))
        return Issued([f"leaf {len(self.asked)}\n", "intermediate\n"])

    def put(self, name="one", conditions=(), user=None, **spec):
        made = {
            "request": base64.b64encode(b"pem").decode(), "signerName": SIGNER, "usages": ["client auth"], **(user or bound_user()), **spec,
        }
        self.double.put(f"{REQUESTS}/{name}", {
            "metadata": {"name": name, "uid": f"uid of {name}"}, "spec": made, "status": {"conditions": list(conditions)}})

    def status(self, name="one"):
        return self.double.objects[f"{REQUESTS}/{name}"]["status"]

    def conditions(self, name="one"):
        return [(each["type"], each["status"], each["reason"]) for each in self.status(name)["conditions"]]

    def patches(self):
        return [call.path.removeprefix(REQUESTS) for call in self.double.calls if call.method == "PATCH"]


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    async with api_server(tmp_path) as (double, config):
        double.put(POD_PATH, pod())
        yield World(double, Api(config))


async def test_signed_once(world):
    world.put()
    for _ in range(3):
        await world.signer.look()
    assert world.asked == [(Attestation("shop", "web", "web-0", POD_UID), "pem", "csr/one", "application")]
    assert world.conditions() == [("Approved", "True", "PodVerified")]
    assert base64.b64decode(world.status()["certificate"]) == b"leaf 1\nintermediate\n"
    assert world.patches() == ["/one/approval", "/one/status"]


@pytest.mark.parametrize("done", [
    {"signerName": "kubernetes.io/kube-apiserver-client"},
    {"conditions": [{"type": "Denied", "status": "True"}]},
    {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}]},
])
async def test_what_is_not_ours_or_was_answered_is_left_alone(world, done):
    world.put(**done)
    await world.signer.look()
    assert (world.asked, world.patches()) == ([], [])


@pytest.mark.parametrize(("made", "found", "why"), [
    ({"user": bound_user(pod_uid=None)}, pod(), "bound to no pod"),
    ({"user": bound_user() | {"username": "kubernetes-admin"}}, pod(), "no service account's"),
    ({"user": bound_user(uid="another")}, pod(), "another has its name"),
    ({"user": bound_user(account="vault")}, pod(), "another service account"),
    ({}, pod("Succeeded"), "phase Succeeded"),
    ({}, pod(ends="2027-01-15T08:00:00Z"), "grace has ended"),
    ({"usages": ["client auth", "cert sign"]}, pod(), "'cert sign'"),
    ({"usages": ["any"]}, pod(), "'any'"),
])
async def test_denied(world, made, found, why):
    world.double.put(POD_PATH, found)
    world.put(**made)
    await world.signer.look()
    await world.signer.look()
    assert world.conditions() == [("Denied", "True", "Refused")]
    assert why in world.status()["conditions"][0]["message"]
    assert (world.asked, world.patches()) == ([], ["/one/approval"])


@pytest.mark.parametrize(("error", "reason"), [
    (Forbidden("the pod was revoked"), "Refused"),
    (Forbidden("the key belongs to another workload"), "Refused"),
    (BadRequest("no P-256"), "BadRequest"),
])
async def test_denied_by_the_issuers_own_checks(world, error, reason):
    world.fails = error
    world.put()
    await world.signer.look()
    assert world.conditions() == [("Denied", "True", reason)]
    assert world.status()["conditions"][0]["message"] == str(error)


async def test_what_somebody_has_approved(world):
    by_hand = {"type": "Approved", "status": "True", "reason": "ByHand", "message": ""}
    world.put("good", [by_hand])
    world.put("bad", [by_hand], user=bound_user(pod_uid=None))
    await world.signer.look()
    assert world.conditions("good") == [("Approved", "True", "ByHand")]
    assert world.status("good")["certificate"]
    assert world.conditions("bad") == [("Approved", "True", "ByHand"), ("Failed", "True", "Refused")]
    assert sorted(world.patches()) == ["/bad/status", "/good/status"]


@pytest.mark.parametrize("fails", ["/one/approval", "/one/status"])
@pytest.mark.parametrize("status", [409, 401])
async def test_what_could_not_be_written_is_written_later_with_the_same_certificate(world, fails, status):
    world.put()
    world.double.before = lambda call: failure(status, call.path) if call.path.endswith(fails) else None
    for _ in range(3):
        with pytest.raises(ApiError):
            await world.signer.look()
    assert "certificate" not in world.status()
    world.double.before = lambda call: None
    await world.signer.look()
    assert base64.b64decode(world.status()["certificate"]) == b"leaf 1\nintermediate\n"
    assert len(world.asked) == 1


async def test_somebody_who_denies_it_meanwhile_is_not_overruled(world):
    world.put()
    denied = {"type": "Denied", "status": "True", "reason": "ByHand"}
    world.double.before = lambda call: world.put(conditions=[denied]) if call.method == "PATCH" else None
    with pytest.raises(ApiError, match="has been modified"):
        await world.signer.look()
    await world.signer.look()
    assert (world.conditions(), world.patches()) == ([("Denied", "True", "ByHand")], ["/one/approval"])


@pytest.mark.parametrize("error", [LogError("disk full"), CannotTell("away")])
async def test_what_cannot_be_decided_waits_and_keeps_no_other_waiting(world, error):
    world.put("one")
    world.put("two", user=bound_user(pod_uid=None))
    world.fails = error
    with pytest.raises(type(error)):
        await world.signer.look()
    assert world.conditions("one") == []
    assert world.conditions("two") == [("Denied", "True", "Refused")]
    world.fails = None
    await world.signer.look()
    assert world.status("one")["certificate"]


async def test_a_pod_whose_state_is_not_told_waits(world):
    world.put()
    world.double.before = lambda call: Answer(503) if call.path == POD_PATH else None
    with pytest.raises(CannotTell):
        await world.signer.look()
    assert (world.conditions(), world.asked) == ([], [])


async def test_a_flood_of_one_pods_waits(world):
    for number in range(BURST + 2):
        world.put(f"r{number:02}")
    await world.signer.look()
    assert len(world.asked) == BURST
    assert world.conditions(f"r{BURST:02}") == []


async def test_it_goes_on_by_itself_and_tells_what_is_in_the_way(world, capsys):
    came = [trio.Event() for _ in range(2)]
    world.double.before = lambda call: came[call.method == "PATCH"].set() or failure(401, call.path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.signer.run)
        await came[0].wait()
        await trio.testing.wait_all_tasks_blocked(0.1)
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().err.count("have to wait: the API server refuses") == 1
    world.put()
    world.double.before = lambda call: came[1].set() if call.path.endswith("/status") else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.signer.run)
        await came[1].wait()
        nursery.cancel_scope.cancel()
