"""A pod's JSON, really run: what the JSON says is what happens, and another JSON is another thing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from injector.demo.errors import DemoError
from injector.demo.modes import Mode, detect, search_path
from injector.demo.network import BRIDGE_MAC

from . import support

pytestmark = pytest.mark.netns
SHOW = "id -u; id -g; grep -E 'CapBnd|NoNewPrivs' /proc/self/status | tr '\\t' ' '; ls /run; cat /run/shared/word"
SLEEP = {"name": "app", "image": "host", "command": ["sh", "-c", f"{SHOW}; touch /run/scratch/done; exec sleep 60"],
         "securityContext": {"runAsUser": 1234, "runAsGroup": 1235, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
         "volumeMounts": [{"name": "shared", "mountPath": "/run/shared", "readOnly": True},
                          {"name": "scratch", "mountPath": "/run/scratch"}],
         "readinessProbe": {"exec": {"command": ["test", "-e", "/run/scratch/done"]}, "periodSeconds": 1}}
WRITE = {"name": "write", "image": "host", "command": ["sh", "-c", 'echo "$0 $WORD" > /run/shared/word'], "args": ["$(WORD)!"],
         "env": [{"name": "WORD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
         "volumeMounts": [{"name": "shared", "mountPath": "/run/shared"}]}
SIDECAR = {"name": "side", "restartPolicy": "Always", "image": "host",
           "command": ["sh", "-c", "touch /run/private/key; exec python3 -m http.server 9000 --bind :: --directory /run/private"],
           "startupProbe": {"tcpSocket": {"port": 9000}, "periodSeconds": 1},
           "readinessProbe": {"httpGet": {"path": "/key", "port": 9000}, "periodSeconds": 1},
           "volumeMounts": [{"name": "private", "mountPath": "/run/private"}]}
VOLUMES = [{"name": "shared", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}},
           {"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]


@pytest.fixture(scope="module")
def mode() -> Mode:
    try:
        return detect(os.geteuid() == 0)
    except DemoError as exc:
        pytest.skip(str(exc))


def run(mode: Mode, containers: list[dict[str, Any]], init: list[dict[str, Any]], **task: Any) -> dict[str, Any]:
    pod = support.pod(containers=containers, initContainers=init, volumes=VOLUMES, terminationGracePeriodSeconds=1)
    done = subprocess.run(
        ["unshare", *mode.unshare, sys.executable, "-m", "tests.injector.demo.scenario"],
        input=json.dumps({"pod": pod, "hasUids": mode.has_uids, **task}), capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[3], env={**os.environ, "PATH": search_path()})
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def changed(container: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**container, **fields}


def test_a_pod_runs_as_its_json_says(mode: Mode) -> None:
    seen = run(mode, [SLEEP], [WRITE, SIDECAR], execute=["side", ["ls", "/run/private"]])
    assert seen["trouble"] == ""
    uid, gid = ("1234", "1235") if mode.has_uids else ("0", "0")
    assert seen["logs"]["app"].splitlines() == [
        uid, gid, "CapBnd: 0000000000000400", "NoNewPrivs: 1", "image", "scratch", "shared", "6f9619ff! 6f9619ff"]   # no private, no world
    assert seen["execute"] == [0, "key\n"]
    assert {item["type"]: item["status"] for item in seen["status"]["conditions"]}["Ready"] == "True"
    assert [item["ip"] for item in seen["status"]["podIPs"]] == ["10.244.0.10", "fd00:244::a"]
    assert "web-x2x4z" not in seen["left"]
    assert seen["bridge"] == BRIDGE_MAC     # others go on finding the node


def test_another_argument_runs_otherwise(mode: Mode) -> None:
    seen = run(mode, [SLEEP], [changed(WRITE, args=["other"]), SIDECAR])
    assert seen["logs"]["app"].splitlines()[-1] == "other 6f9619ff"


def test_another_user_runs_otherwise(mode: Mode) -> None:
    if not mode.has_uids:
        pytest.skip("a single UID here: runAsUser cannot be honoured")
    seen = run(mode, [changed(SLEEP, securityContext={"runAsUser": 77})], [WRITE, SIDECAR])
    assert seen["logs"]["app"].splitlines()[:3] == ["77", "0", "CapBnd: 00000000a80425fb"]


def test_a_probe_that_fails_keeps_the_pod_from_ready(mode: Mode) -> None:
    failing = changed(SIDECAR, readinessProbe={"httpGet": {"path": "/absent", "port": 9000}, "periodSeconds": 1})
    seen = run(mode, [SLEEP], [WRITE, failing])
    assert "not ready: side" in seen["trouble"]
    assert "GET /absent" in seen["trouble"]   # the last lines of the container that holds it up
    assert {item["type"]: item["status"] for item in seen["status"]["conditions"]}["Ready"] == "False"


def test_an_init_container_that_fails_stops_the_pod_and_is_quoted(mode: Mode) -> None:
    seen = run(mode, [SLEEP], [changed(WRITE, command=["sh", "-c", "echo the reason >&2; exit 3"]), SIDECAR])
    assert "container write ended with status 3; it last said:\n    | the reason" in seen["trouble"]
    assert "app" not in seen["logs"]


def test_a_container_that_ends_is_started_again(mode: Mode) -> None:
    ends_once = changed(SLEEP, command=["sh", "-c", "test -e /run/shared/again && exec sleep 60; touch /run/shared/again"],
                        volumeMounts=[{"name": "shared", "mountPath": "/run/shared"}], securityContext={},
                        readinessProbe={"exec": {"command": ["test", "-e", "/run/shared/again"]}, "periodSeconds": 1,
                                        "initialDelaySeconds": 1})
    seen = run(mode, [ends_once], [WRITE, SIDECAR])
    assert seen["trouble"] == ""
    assert {item["name"]: item["restartCount"] for item in seen["status"]["containerStatuses"]} == {"app": 1, "side": 0}


def test_hooks_are_carried_out(mode: Mode) -> None:
    lifecycle = {"postStart": {"exec": {"command": ["touch", "/run/private/started"]}},
                 "preStop": {"httpGet": {"path": "/quit", "port": 9000}}}
    with_hooks = changed(SIDECAR, lifecycle=lifecycle, startupProbe={"exec": {"command": ["test", "-e", "/run/private/started"]}})
    seen = run(mode, [SLEEP], [WRITE, with_hooks])
    assert seen["trouble"] == ""
    assert "/quit" not in seen["logs"]["side"]
    assert '"GET /quit HTTP/1.1" 404' in seen["lastLogs"]["side"]


def test_a_container_whose_first_hook_fails_is_ended(mode: Mode) -> None:
    seen = run(mode, [SLEEP], [WRITE, changed(SIDECAR, lifecycle={"postStart": {"tcpSocket": {"port": 9000}}})])
    assert "container side ended with status" in seen["trouble"]
    assert "app" not in seen["logs"]


def test_what_cannot_be_honoured_is_said(mode: Mode) -> None:
    seen = run(mode, [changed(SLEEP, image="nginx", command=[])], [WRITE, SIDECAR])
    assert "'nginx' is no image of the demo's" in seen["trouble"]
