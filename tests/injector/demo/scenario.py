"""Runs one pod, as the JSON on standard input says, in namespaces of its own; prints what was seen as JSON.

Started by test_kubelet.py inside `unshare`. Input: {"pod", "hasUids", "execute": [container, [command]], "expect": "ready"|"trouble"}.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import trio

from injector.demo import images, settings
from injector.demo.errors import DemoError
from injector.demo.kubelet import Kubelet, Node
from injector.demo.network import BRIDGE, Network, command
from injector.demo.outside import HOSTS
from injector.demo.tokens import TokenSigner


def logs() -> dict[str, str]:
    """By container."""
    return {path.stem.rpartition("_")[2]: path.read_text() for path in Path(settings.WORLD, "logs").iterdir()}


async def main(task: dict[str, Any]) -> dict[str, Any]:
    settings.WORLD.mkdir(mode=0o700)
    (settings.WORLD / "stage").mkdir()
    images.IMAGE.mkdir()
    network, reported = Network(), []
    await network.up({"host": HOSTS["api.partner.example"].addresses})
    node = Node(settings.WORLD, await images.build(), network, TokenSigner("issuer"),
                lambda kind, namespace, name: {"kind": kind, "metadata": {"uid": "u"}}, time.time, task["hasUids"])
    kubelet = Kubelet(node, lambda uid, status: reported.append(status))
    seen: dict[str, Any] = {"trouble": ""}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kubelet.serve)
        kubelet.run(task["pod"])
        try:
            await kubelet.wait_until("web", lambda pod: pod.is_ready, 8)
        except DemoError as exc:
            seen["trouble"] = str(exc)
        if "execute" in task and not seen["trouble"]:
            container, words = task["execute"]
            done = await kubelet.execute("web", words, container)
            seen["execute"] = [done.status, done.out.decode()]
        seen["logs"] = logs()
        seen["status"] = reported[-1]
        await kubelet.remove(task["pod"]["metadata"]["name"])
        seen["lastLogs"] = logs()
        (bridge,) = json.loads(await command(["ip", "-j", "link", "show", BRIDGE]))
        seen["bridge"] = bridge["address"]
        seen["left"] = (await command(["ip", "netns", "list"])).split()
        nursery.cancel_scope.cancel()
    return seen


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run"], check=True)
    print(json.dumps(trio.run(main, json.loads(sys.stdin.read()))))
