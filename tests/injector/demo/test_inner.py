"""The whole world, brought up for real: however its command ends, nothing stays; kept, it can be entered and ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from injector.demo import kept, settings
from injector.demo.errors import DemoError
from injector.demo.modes import detect
from injector.demo.world import read_manifests

pytestmark = pytest.mark.netns
ROOT = Path(__file__).parents[3]
DEMO = [sys.executable, "-m", "injector.cli.main", "demo"]


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A state folder of the test's own, so that no other world is taken for ours and ended."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    try:
        detect(os.geteuid() == 0)
    except DemoError as exc:
        pytest.skip(str(exc))


def demo(*words: str, status: int = 0, given: object = None) -> str:
    done = subprocess.run([*DEMO, *words], cwd=ROOT, input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def assert_gone(pid: int, started: int | None) -> None:
    end = time.monotonic() + 5
    while kept.start_time(pid) == started:
        assert time.monotonic() < end, f"process {pid} of the world is still there"
        os.sched_yield()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_however_the_command_ends(number: signal.Signals) -> None:
    # Whoever started us in the background has let us ignore SIGINT, and that is inherited.
    plain = ["env", "--default-signal=INT", *DEMO]
    with subprocess.Popen(plain, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as command:
        assert command.stdout is not None
        for line in command.stdout:
            if "outside world are up" in line:
                break
        (namespaces,) = children(command.pid)
        (first,) = children(namespaces)
        started = kept.start_time(first)
        assert started is not None
        command.send_signal(number)
        status = command.wait(10)
    assert status == (130 if number == signal.SIGINT else -number)
    assert_gone(first, started)   # the first process of the PID namespace: the kernel has ended the others before


@pytest.fixture
def world() -> Iterator[kept.Kept]:
    demo("--keep", "--no-checks")
    found = kept.recall(kept.state_file())
    assert found is not None
    yield found
    kept.end(kept.state_file())


def test_a_kept_world_is_entered_as_the_application_and_ended(world: kept.Kept) -> None:
    uid = "1000" if world.mode != "user-single" else "0"
    assert demo("exec", "web", "--", "sh", "-c", "id -u; grep NoNewPrivs /proc/self/status").split() == [uid, "NoNewPrivs:", "1"]
    demo("exec", "web", "--", "sh", "-c", "exit 7", status=7)
    demo("exec", "nobody", "--", "true", status=1)
    demo("exec", "web", "--", "ls", "/run/world", status=2)   # the world's keys are nowhere in a container
    ask = "import urllib.request as u; print(u.urlopen('http://orders/orders/1').read().decode())"
    seen = json.loads(demo("exec", "web", "--", "python3", "-c", ask))
    assert dict(seen["headers"])["x-bartizan-tls"] == "TLSv1.3"
    assert_objects_are_applied()
    demo("--stop")
    assert_gone(world.pid, world.started)
    demo("--stop", status=1)


def assert_objects_are_applied() -> None:
    """By way of the real webhook: an approval counts for the pods that run, and what it does not cover is refused."""
    ask = ("exec", "thief", "--", "curl", "-s", "--retry", "20", "--retry-all-errors", "--retry-delay", "0", "http://unapproved.example/")
    deployment = next(item for item in read_manifests(settings.EXAMPLES) if item["metadata"].get("name") == "thief"
                      and item["kind"] == "Deployment")
    deployment["metadata"]["annotations"] = {"bartizan.dev/egress": "[{host: unapproved.example}]"}
    policy = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": "more"},
              "spec": {"subjects": [{"namespace": "shop", "serviceAccounts": ["thief"]}], "hosts": [{"host": "unapproved.example"}]}}
    assert "no EgressPolicy approves host" in demo("apply", "-", status=1, given=deployment)
    assert demo("apply", "-", given=policy) == "EgressPolicy/more: created\n"
    assert demo("apply", "-", given=deployment) == "Deployment/shop/thief: applied\n"
    assert json.loads(demo(*ask))["tls"] == "TLSv1.3"
    policy["spec"] = {"subjects": [], "hots": []}
    assert 'unknown field "hots" in spec; did you mean "hosts"?' in demo("apply", "-", status=1, given=policy)


def test_a_new_run_ends_the_earlier_one(world: kept.Kept) -> None:
    out = demo("--keep", "--no-checks")
    assert "ended the earlier world" in out
    assert_gone(world.pid, world.started)
    assert kept.recall(kept.state_file()) != world
