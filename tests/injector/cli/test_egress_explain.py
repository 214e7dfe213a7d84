"""`bartizan egress explain` of manifests, and of a pod through a socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from injector.cli import egress, verify
from injector.operator import SOCKET
from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError
from sidecar.model.explanation import Explanation, Question, step
from sidecar.net.deadline import Deadline
from sidecar.net.listener import Tally, listen_unix, serve_listener
from sidecar.net.service import serve_calls
from sidecar.net.socket_stream import SocketStream

DEMO = str(Path(__file__).parents[3] / "examples" / "demo")
REACHED = Explanation((step("approval", "ok", "approved"),), "", "digest")


def of_the_demo(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and the steps by name."""
    status = egress.main(["explain", *words, "-f", DEMO, "--json"])
    told = json.loads(capsys.readouterr().out)
    return status, {one["name"]: one for one in told["steps"]} | {"code": told.get("code", "")}


@pytest.mark.parametrize(("words", "status", "code", "at"), [
    (("shop/web", "api.partner.example"), 0, "", ""),
    (("shop/web", "api.partner.example:443"), 0, "", ""),
    (("shop/web", "orders"), 0, "", ""),
    (("shop/web", "unapproved.example"), 1, "BZ0201", "approval"),
    (("shop/web", "api.partner.example:8080"), 1, "BZ0201", "approval"),
    (("shop/web", "nosecret.partner.example"), 1, "BZ0203", "verification"),
    (("shop/web", "203.0.113.1:5432"), 1, "BZ0202", "approval"),
    (("shop/web", "api.partner.example", "--method", "TRACE"), 1, "BZ0305", "destination"),
])
def test_manifests_answer(words: tuple[str, ...], status: int, code: str, at: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, steps = of_the_demo(capsys, *words)
    assert (found, steps["code"]) == (status, code)
    if at:
        assert steps[at]["code"] == code
    else:
        assert {steps[name]["outcome"] for name in ("snapshot", "interception", "resolution", "connection", "proof")} == {"skipped"}


def test_who_has_no_sidecar(capsys: pytest.CaptureFixture[str]) -> None:
    status, steps = of_the_demo(capsys, "legacy/legacy", "api.partner.example")
    assert (status, steps["pod"]["outcome"]) == (1, "refused")


@pytest.mark.parametrize("words", [
    ("shop/nobody", "a.test"), ("shop/web", "a b"), ("shop/web", "a.test:0"), ("shop/web", "a.test", "--path", "x"),
])
def test_what_is_no_question(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        egress.main(["explain", *words, "-f", DEMO])


# -- through the injector


@asynccontextmanager
async def injector(state: Path, heard: list[dict[str, Any]], answer: Answer) -> AsyncIterator[None]:
    """One that gives every question the same answer."""
    async def handle(call: Call) -> Answer:
        heard.append(msgspec.json.decode(call.body))
        return answer

    async def serve(sock: Any) -> None:
        with Deadline() as deadline:
            await serve_calls(SocketStream(sock), handle, deadline, max_body_bytes=65536)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_listener, listen_unix(str(state / SOCKET)), serve, Tally())
            yield
            nursery.cancel_scope.cancel()


async def test_the_pod_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[dict[str, Any]] = []
    async with injector(tmp_path, heard, Answer(200, msgspec.json.encode(REACHED))):
        words = ["explain", "shop/web", "a.test:8080", "--kind", "plain", "--method", "POST", "--path", "/v1", "--state", str(tmp_path)]
        assert await trio.to_thread.run_sync(egress.main, words) == 0
        words = ["shop/web", "https://A.test/v1?x=y", "--method", "HEAD", "--state", str(tmp_path)]
        assert await trio.to_thread.run_sync(verify.main, words) == 0
    assert [msgspec.convert(one["question"], Question) for one in heard] == [
        Question("a.test", 8080, "plain", "POST", "/v1"), Question("a.test", 443, "tls", "HEAD", "/v1?x=y", sends=True)]
    assert [one["pod"] for one in heard] == ["shop/web", "shop/web"]
    assert capsys.readouterr().out.count("reached\n") == 2


@pytest.mark.parametrize("answer", [
    Answer.error(400, "no pod \x1b[31m"), Answer(200, b"[]"), Answer(500, b"\x1b[2J"), Answer(200, b'{"steps": [], "new": 1}'),
])
async def test_what_the_injector_refuses(answer: Answer, tmp_path: Path) -> None:
    async with injector(tmp_path, [], answer):
        with pytest.raises(ConfigError) as caught:
            await trio.to_thread.run_sync(egress.main, ["explain", "shop/web", "a.test", "--state", str(tmp_path)])
    assert str(caught.value).isprintable()
