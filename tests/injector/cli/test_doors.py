"""The ways to the injector: which are taken, what is made of their answers. The real socket: tests/injector/test_operator.py."""

import argparse
import json
from pathlib import Path

import pytest

from injector.cli.doors import Local, Replica, add_arguments, ask_all, doors_of, newest
from injector.cli.kubectl import Kubectl, KubectlError
from injector.operator import Listing
from injector.status import Status
from sidecar.model.call import Answer
from sidecar.model.errors import ConfigError, MeshError

from .conftest import Program

LISTED = {"items": [
    {"metadata": {"name": "bartizan-injector-1"}, "status": {"phase": "Running"}},
    {"metadata": {"name": "bartizan-injector-0"}, "status": {"phase": "Running"}},
    {"metadata": {"name": "bartizan-injector-2"}, "status": {"phase": "Pending"}},
    {"metadata": {"name": "bartizan-injector-3", "deletionTimestamp": "2030-01-01T00:00:00Z"}, "status": {"phase": "Running"}},
]}


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


class Fixed:
    def __init__(self, answer: Answer | MeshError) -> None:
        self._answer = answer

    def call(self, path: str, body: bytes) -> Answer:
        if isinstance(self._answer, MeshError):
            raise self._answer
        return self._answer


def said(now: float) -> Answer:
    return Answer(200, json.dumps({"version": "1", "now": now, "pods": []}).encode())


def test_every_replica_that_runs_is_a_way(program: Program) -> None:
    program(f"echo '{json.dumps(LISTED)}'")
    kubectl = Kubectl("prod", "")
    assert doors_of(parsed("--context", "prod")) == [Replica(kubectl, "bartizan-injector-0"), Replica(kubectl, "bartizan-injector-1")]


def test_one_on_this_machine_is_named(tmp_path: Path) -> None:
    assert doors_of(parsed("--state", str(tmp_path))) == [Local(tmp_path)]


def test_where_none_runs(program: Program) -> None:
    program("echo '{\"items\": []}'")
    with pytest.raises(KubectlError, match="bartizan check"):
        doors_of(parsed())


def test_a_replica_is_asked_inside_its_pod(program: Program, tmp_path: Path) -> None:
    program(f'echo "$@" > {tmp_path}/words; cat > {tmp_path}/body; echo \'{{"status": 400, "body": {{"error": "no"}}}}\'')
    answer = Replica(Kubectl(), "bartizan-injector-0").call("/v1/status", b"{}")
    assert (answer.status, answer.body) == (400, b'{"error": "no"}')
    words = "exec -i -n bartizan-system bartizan-injector-0 -c injector -- bartizan operator /v1/status"
    assert (tmp_path / "words").read_text().strip() == words
    assert (tmp_path / "body").read_bytes() == b"{}"


@pytest.mark.parametrize("printed", ["", "ok", "[]", '{"status": 200}', '{"status": "x", "body": {}}'])
def test_what_a_pod_prints_may_be_anything(printed: str, program: Program) -> None:
    program(f"cat > /dev/null; printf '%s' '{printed}'")
    with pytest.raises(ConfigError):
        Replica(Kubectl(), "bartizan-injector-0").call("/v1/status", b"{}")


def test_one_that_is_silent_is_told_of_and_the_others_count(capsys: pytest.CaptureFixture[str]) -> None:
    doors = [Fixed(KubectlError("gone \x1b[2J")), Fixed(said(5.0)), Fixed(said(9.0))]
    assert [answer.now for _, answer in ask_all(doors, "/v1/status", Listing(), Status)] == [5.0, 9.0]
    assert capsys.readouterr().err == "bartizan: one replica did not answer: gone \\x1b[2J\n"
    door, answer = newest(doors, "/v1/status", Listing(), Status, lambda one: one.now)
    assert (door, answer.now) == (doors[2], 9.0)


@pytest.mark.parametrize(("answer", "words"), [
    (KubectlError("first"), "first"), (Answer(400, b'{"error": "no such pod"}'), "no such pod"), (Answer(500, b"x"), "answer is none"),
    (Answer(200, b"{}"), "version"),
])
def test_where_nobody_answers(answer: Answer | MeshError, words: str) -> None:
    with pytest.raises(MeshError, match=words):
        ask_all([Fixed(answer), Fixed(answer)], "/v1/status", Listing(), Status)
