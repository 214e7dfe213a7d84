import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from injector.demo.apiserver import ApiServer, Object
from injector.demo.applying import Applying, apply, with_roots
from injector.demo.errors import DemoError
from sidecar.model.call import Call

from .test_apiserver import DEPLOYMENT, FakeWebhook

SECRET: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": "shop"}, "data": {}}


class Pods:
    """A kubelet whose pods are ready at once."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def run(self, pod: Object) -> None:
        self.names.append(pod["metadata"]["name"])

    async def remove(self, name: str) -> None:
        self.names.remove(name)

    async def wait_until(self, name: str, holds: Callable[[Any], bool], within_s: float) -> None:
        assert name in self.names


@pytest.fixture
def pods() -> Pods:
    return Pods()


def applying(folder: Path, pods: Pods, refusal: str = "", warnings: list[str] | None = None) -> Applying:
    api = ApiServer(folder / "cluster", random.Random(1), lambda: None)
    as_they_are: Any = (api, FakeWebhook(refusal=refusal, warnings=warnings), pods)
    return Applying(*as_they_are, roots="PEM")


async def test_a_new_template_gets_new_pods_and_an_annotation_of_the_workload_does_not(tmp_path: Path, pods: Pods) -> None:
    world = applying(tmp_path, pods)
    assert (await world.put(copy.deepcopy(DEPLOYMENT))).startswith("created; ready: web-")
    first = list(pods.names)
    annotated = copy.deepcopy(DEPLOYMENT)
    annotated["metadata"]["annotations"] = {"bartizan.dev/egress": "[]"}
    assert await world.put(annotated) == "applied"
    assert pods.names == first
    annotated["spec"]["template"]["spec"]["containers"][0]["image"] = "newer"
    assert (await world.put(annotated)).startswith("applied; ready: web-")
    assert len(pods.names) == len(first)
    assert not set(pods.names) & set(first)
    kept = sorted(path.name for path in (tmp_path / "cluster").glob("Pod_*"))
    assert kept == sorted(f"Pod_shop_{name}.json" for name in pods.names)


async def test_what_admission_says_is_the_answer_and_the_rest_is_stored(tmp_path: Path, pods: Pods) -> None:
    world = applying(tmp_path, pods, refusal="line 3")
    call = Call("POST", "/v1/apply", "", {}, b"[]", "", None)
    assert (await world.answer(call)).body == b"[]"
    refused = await world._apply(copy.deepcopy(DEPLOYMENT))
    assert refused["refused"]
    assert refused["words"].endswith("was refused: line 3")
    assert await world._apply(SECRET) == {"object": "Secret/shop/mine", "words": "created", "refused": False}
    assert (tmp_path / "cluster" / "Secret_shop_mine.json").exists()
    assert (await world._apply({"kind": "Secret", "metadata": {"name": "../x"}}))["refused"]


async def test_what_admission_warns_of_is_told(tmp_path: Path, pods: Pods) -> None:
    world = applying(tmp_path, pods, warnings=["bartizan: there is no Service x"])
    metadata = {"name": "web", "namespace": "shop"}
    assert await world.put({"kind": "Ingress", "metadata": metadata, "spec": {}}) == "created\n    | bartizan: there is no Service x"


class Late(FakeWebhook):
    """Refuses a few times, as one that has not read the newest objects."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    async def review(self, request: Object) -> Object:
        if self.left:
            self.left -= 1
            return {"uid": request["uid"], "allowed": False, "status": {"message": "not yet"}}
        return await super().review(request)


@pytest.mark.parametrize(("first", "is_refused"), [([], True), ([SECRET], False)])
async def test_what_an_object_before_it_allows_is_asked_again(
    first: list[Object], is_refused: bool, tmp_path: Path, pods: Pods, autojump_clock: trio.testing.MockClock
) -> None:
    as_they_are: Any = (ApiServer(tmp_path / "cluster", random.Random(1), lambda: None), Late(3), pods)
    body = json.dumps([*first, DEPLOYMENT]).encode()
    answer = await Applying(*as_they_are, roots="PEM").answer(Call("POST", "/v1/apply", "", {}, body, "", None))
    assert json.loads(answer.body)[-1]["refused"] is is_refused
    assert bool(pods.names) is not is_refused


def test_policies_that_name_no_roots_get_the_demos() -> None:
    policy: Object = {"kind": "EgressPolicy", "spec": {"hosts": [{"host": "a"}, {"host": "b", "caBundle": "theirs"}, "broken"]}}
    with_roots(policy, "PEM")
    assert policy["spec"]["hosts"] == [{"host": "a", "caBundle": "PEM"}, {"host": "b", "caBundle": "theirs"}, "broken"]
    for other in ({"kind": "EgressPolicy"}, {"kind": "EgressPolicy", "spec": {"hosts": 5}}, SECRET):
        before = copy.deepcopy(other)
        with_roots(other, "PEM")
        assert other == before


def test_no_world_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="does not take objects"):
        apply(str(tmp_path / "nothing.sock"), [])
