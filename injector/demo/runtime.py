"""Running containers: start one, run something in it, end it, read what it said.

What a container writes, standard output and error alike, goes to one file, over its restarts.
"""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import trio

from .container import STARTED, Launch, Mount, enter_prefix, start_argv
from .errors import DemoError

START_WITHIN_S = 10.0
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    status: int
    out: bytes
    err: bytes


def tail(log: Path) -> str:
    """The last lines of a log, indented, to stand below an error."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    except OSError as exc:
        lines = [str(exc)]
    return "\n".join(f"    | {line}" for line in lines or ["(it wrote nothing)"])


class Running:
    """A container that was started.

    Args:
        parent: the process that waits for the container's first.
        pid: the container's first process, in our PID namespace.
    """

    def __init__(self, launch: Launch, parent: trio.Process, pid: int, has_uids: bool) -> None:
        self.prefix = enter_prefix(launch, pid, has_uids)
        self._parent = parent
        self._pid = pid

    async def wait(self) -> int:
        """Its exit status; 128 and the signal's number if one ended it."""
        status = await self._parent.wait()
        return status if status >= 0 else 128 - status

    async def stop(self, grace_s: float) -> None:
        """SIGTERM; SIGKILL if it has not ended in time. Returns when it has; a cancellation only ends the grace."""
        try:
            if self._parent.poll() is None:
                self._send(signal.SIGTERM)
                with trio.move_on_after(grace_s):
                    await self._parent.wait()
        finally:
            if self._parent.poll() is None:
                self._send(signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await self._parent.wait()

    def _send(self, number: signal.Signals) -> None:
        try:
            os.kill(self._pid, number)   # its parent was not waited for, so the PID is still its own
        except ProcessLookupError:
            pass   # it ended by itself; its parent is about to say so

    async def execute(self, argv: list[str], stdin: bytes = b"") -> Done:
        """Run a command in the container, as its user, with its capabilities; ends with the caller's cancellation."""
        done = await trio.run_process([*self.prefix, *argv], stdin=stdin, capture_stdout=True, capture_stderr=True, check=False,
                                      deliver_cancel=_end_entered)
        return Done(done.returncode, done.stdout, done.stderr)

    async def run(self, argv: list[str]) -> int:
        """The exit status alone."""
        return (await self.execute(argv)).status


async def start(launch: Launch, netns: str, log: Path, has_uids: bool, system_mounts: tuple[Mount, ...]) -> Running:
    """Start a container. Returns once its mounts stand and its own command is next; DemoError if it does not come to that."""
    receive, send = os.pipe2(os.O_CLOEXEC)
    try:
        with log.open("ab") as output:
            process = await trio.lowlevel.open_process(start_argv(launch, netns, has_uids, system_mounts),
                                                       stdin=send, stdout=output, stderr=subprocess.STDOUT)
    except BaseException:
        os.close(receive)
        raise
    finally:
        os.close(send)
    async with trio.lowlevel.FdStream(receive) as pipe:
        said = b""
        with trio.move_on_after(START_WITHIN_S):
            said = await pipe.receive_some(len(STARTED))
    if said != STARTED:
        process.kill()
        await process.wait()
        raise DemoError(f"container {log.stem} could not be set up:\n{tail(log)}")
    return Running(launch, process, _only_child(process.pid) or process.pid, has_uids)


async def _end_entered(process: trio.Process) -> None:
    """End what `nsenter` has started, not `nsenter`: that reaps it. Left alone, it would outlive us, and as a zombie that nobody
    reaps keep the container's PID namespace, and so the pod, from ever ending.
    """
    try:
        os.kill(_only_child(process.pid) or process.pid, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        pass   # it has just ended by itself


def _only_child(pid: int) -> int | None:
    """The container's first process by its parent; None if it has already ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def back_off_s(restarts: int) -> float:
    """How long to wait before the next start: at once the first time, then 10 s doubled up to 5 minutes."""
    return 0.0 if restarts == 0 else min(10.0 * 2 ** min(restarts - 1, 10), 300.0)


FORGIVEN_AFTER_S = 600.0   # a container that ran for so long starts without back-off again
