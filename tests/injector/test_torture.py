"""Any text as a request's body, as its object, as an annotation: an answer that is whole, after work that is bounded; never a crash.

tests/vectors/admission/*.txt, one text each: JSON, YAML, JSON Patch and reviews that are not, or only nearly, what they seem. The first
line is `expect: PLACE=VERDICT ...` (tests/injector/torture.py); the rest is the text, byte for byte. tests/e2e/test_admission.py posts
them to the real server.
"""

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.containers import CONTAINERS
from injector.json_text import MOST_VALUES
from injector.patch import patch_pod
from injector.review import MAX_BODY_BYTES, MOST_PARTS, review

from .pods import container, pod
from .torture import CLUSTER, SETTINGS, UID, bodies, judged, verdict

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "admission").glob("*.txt"))
MOST_CALLS = 5_000_000      # of Python and C functions, for one request: a fraction of a second


def load(path: Path) -> tuple[str, bytes]:
    first, _, text = path.read_bytes().partition(b"\n")
    assert first.startswith(b"expect: "), f"{path.name} does not begin with `expect: `"
    return first.decode().removeprefix("expect: "), text


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called; the same on a slow machine."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_there_are_vectors_of_each_kind() -> None:
    kinds = [path.name.partition("_")[0] for path in VECTORS]
    assert {kind: kinds.count(kind) >= 20 for kind in set(kinds)} == dict.fromkeys(("json", "yaml", "patch", "review"), True)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_each_text_in_each_place(path: Path) -> None:
    expected, text = load(path)
    assert judged(text) == expected
    for place, body in bodies(text).items():
        assert calls_of(lambda body=body: review(body, SETTINGS, CLUSTER)) < MOST_CALLS, place      # type: ignore[misc]


def _review(obj: str) -> bytes:
    return bodies(obj.encode())["object"]


def _pod(**spec: Any) -> bytes:
    return _review(json.dumps({"spec": {"containers": [{"name": "a"}], **spec}}))


def _annotated(name: str, text: str) -> bytes:
    return bodies(text.encode())[name]


ROOM = MAX_BODY_BYTES - 1000
LARGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "as large as may be": (lambda: _review(json.dumps({"a": "x" * ROOM})), "patched"),
    "larger": (lambda: _review(json.dumps({"a": "x" * MAX_BODY_BYTES})), "400"),
    "brackets": (lambda: _review("[" * ROOM), "400"),
    "objects": (lambda: _review("[" + ",".join(["{}"] * (ROOM // 3)) + "]"), "400"),
    "keys": (lambda: _review("{" + ",".join(f'"{i:x}":0' for i in range(ROOM // 12)) + "}"), "400"),
    "just so many values": (lambda: _review('{"a":[' + ",".join(["0"] * (MOST_VALUES - 20)) + "]}"), "patched"),
    "escapes": (lambda: _review('{"a":"' + "\\u0041" * (ROOM // 6) + '"}'), "patched"),
    "one number": (lambda: _review('{"a":' + "9" * ROOM + "}"), "400"),
    "containers": (lambda: _pod(containers=[{"name": f"c{i}"} for i in range(100_000)]), "refused"),
    "init containers": (lambda: _pod(initContainers=[{"name": f"c{i}"} for i in range(100_000)]), "refused"),
    "just so many containers": (lambda: _pod(containers=[{"name": f"c{i}"} for i in range(MOST_PARTS)]), "patched"),
    "volumes": (lambda: _pod(volumes=[{"name": f"v{i}", "hostPath": {"path": "/" * 20}} for i in range(70_000)]), "refused"),
    "variables": (lambda: _pod(containers=[{"name": "a", "env": [{"name": f"v{i}"} for i in range(100_000)]}]), "patched"),
    "annotations": (
        lambda: _review(json.dumps({"metadata": {"annotations": {f"bartizan.dev/{i}": "x" for i in range(150_000)}}})), "refused"),
    "entries": (lambda: _annotated("routes", "- {}\n" * 50_000), "refused"),
    "words in an entry": (lambda: _annotated("routes", "- {" + ",".join(f"k{i}: {i}" for i in range(20_000)) + "}"), "refused"),
    "fields": (lambda: _annotated("endpoints", "".join(f"k{i}: {i}\n" for i in range(20_000))), "refused"),
    "ports": (lambda: _annotated("ports", "".join(f"{i}: opque\n" for i in range(20_000))), "refused"),
    "matches": (lambda: _annotated(
        "routes", "- name: a\n  matches: [" + ",".join(["{path: {type: PathPrefix, value: /a}}"] * 5000) + "]\n"), "refused"),
    "hosts": (lambda: _annotated("egress", "".join(f"- host: h{i}.nobody.example\n" for i in range(2000))), "refused"),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_costs_little(name: str) -> None:
    make, expected = LARGE[name]
    body = make()
    assert calls_of(lambda: review(body, SETTINGS, CLUSTER)) < MOST_CALLS
    answer = review(body, SETTINGS, CLUSTER)
    if expected == "400":
        assert answer.status == 400
        return
    response = json.loads(answer.body)["response"]
    assert (response["uid"], response["allowed"], "patch" in response) == (UID, expected == "patched", expected == "patched")
    assert len(answer.body) < 200_000 or expected == "patched"


# -- properties


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_in_any_place_are_answered(data: bytes) -> None:
    for body in bodies(data).values():
        verdict(body)


WORDS = st.sampled_from([
    '"', "{", "}", "[", "]", ":", ",", "null", "true", "0", "-1", "1e9", '"spec"', '"metadata"', '"containers"', '"name"', '"uid"',
    '"request"', '"object"', '"bartizan-sidecar"', '"annotations"', '"bartizan.dev/routes"', "\\", "\\u0000", "\\ud800", " ",
    "\n", "\x00", "\ufeff",
])
GENUINE = _review(json.dumps(pod(initContainers=[container(name="first")], volumes=[{"name": "v", "emptyDir": {}}])))


@settings(max_examples=300)
@given(st.integers(0, len(GENUINE)), st.integers(0, 12), WORDS | st.text(max_size=3))
def test_a_genuine_review_with_something_else_in_it_is_answered(at: int, gone: int, word: str) -> None:
    verdict(GENUINE[:at] + word.encode() + GENUINE[at + gone:])


@given(st.lists(WORDS, max_size=30).map("".join))
def test_what_is_made_of_its_words_is_answered(text: str) -> None:
    for body in bodies(text.encode()).values():
        verdict(body)


names = st.text("ab~/0.", min_size=1, max_size=4)
asked = st.fixed_dictionaries({"port": st.integers(1, 9000), "path": st.text(max_size=5)})
others = st.lists(st.builds(
    container, name=names, volumeMounts=st.none() | st.lists(st.fixed_dictionaries({"name": names, "mountPath": names}), max_size=2),
    securityContext=st.none() | st.fixed_dictionaries({}, optional={
        "capabilities": st.none() | st.fixed_dictionaries({}, optional={"drop": st.none() | st.lists(names, max_size=2)}),
        "runAsUser": st.integers(0, 40000)}),
    livenessProbe=st.none() | st.fixed_dictionaries({"httpGet": asked}),
), max_size=3, unique_by=lambda one: one["name"])
metadata = st.none() | st.fixed_dictionaries({}, optional={
    "name": names, "generateName": names, "annotations": st.none() | st.dictionaries(names, names, max_size=3),
    "labels": st.none() | st.dictionaries(names, names, max_size=2),
})
pods = st.builds(lambda meta, spec: {**({} if meta is None else {"metadata": meta}), "spec": spec}, metadata, st.fixed_dictionaries(
    {"containers": others}, optional={
        "initContainers": st.none() | others, "securityContext": st.none() | st.just({}),
        "volumes": st.none() | st.lists(st.fixed_dictionaries({"name": names}), max_size=2, unique_by=lambda one: one["name"]),
    }))


@settings(max_examples=200)
@given(pods)
def test_another_library_makes_of_the_pod_what_we_say_and_twice_is_once(data: dict[str, Any]) -> None:
    answer = json.loads(review(_review(json.dumps(data)), SETTINGS, CLUSTER).body)["response"]
    assert answer["allowed"] is True
    operations = json.loads(base64.b64decode(answer["patch"]))
    patched = jsonpatch.apply_patch(data, operations)
    assert patched == patch_pod(data, "shop", SETTINGS).value
    assert patch_pod(patched, "shop", SETTINGS).operations == []
    assert [one["name"] for one in patched["spec"]["initContainers"][:2]] == list(CONTAINERS)
    for field in ("initContainers", "containers"):       # nothing of the user's is lost, moved or renamed
        mine = [one["name"] for one in patched["spec"].get(field) or [] if one["name"] not in CONTAINERS]
        assert mine == [one["name"] for one in data["spec"].get(field) or []]
