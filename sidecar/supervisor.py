"""A gateway of several processes: this one starts them, watches over them and speaks for them; they do the work.

Each worker is the gateway that would run alone, with an identity, a socket and files of its own (`worker_config`); all of them listen at
the same ports, and the kernel deals the connections out. The supervisor has the ports for health and metrics, and asks the workers by
their private sockets: ready is who has all of them ready, and what they count is added up.

    SIGTERM   passed on: each worker drains, and with the last of them this process ends; another one hurries them
    a worker ends otherwise      it is started anew, later each time; who ends STARTS_IN_VAIN times soon after its start ends all of it
    the supervisor is killed     its workers see their standard input end, and drain

As the first process of a container it also takes leave of those whose parents are gone.

Trust: anybody in the network may ask for health and metrics; nothing of a request goes further. What workers answer is believed.
Attacked by tests/test_supervisor.py.
"""

import os
import signal
import subprocess  # noqa: TID251 -- it runs the processes of a gateway
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio

from .doors import serve_own, wildcard
from .model.call import Answer, Call
from .model.config import Config, worker_config
from .model.errors import MeshError
from .net.listener import Tally, listen_tcp, serve_listener
from .net.service import call_unix
from .telemetry.totals import Totals

ANSWER_S = 2.0              # of a worker, before it counts as silent
PAUSE_FIRST_S = 0.1
PAUSE_MOST_S = 10.0
STEADY_S = 30.0             # who lasted as long did not end soon after its start
STARTS_IN_VAIN = 5          # in a row
CONFIG = "BARTIZAN_WORKER"  # the environment variable with a worker's configuration


class _Status(msgspec.Struct):
    """What is of interest here of a worker's `GET /status`."""

    obstacles: list[str]


class _Worker:
    """One of the processes; another one takes its place when it ends."""

    def __init__(self, number: int, config: Config) -> None:
        self.number = number
        self.socket = config.admin_socket
        self.environment = {**os.environ, CONFIG: msgspec.json.encode(config).decode()}
        self.process: trio.Process | None = None

    def signal(self, which: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(which)

    async def ask(self, target: str) -> bytes | None:
        """The answer to GET; None: there is none."""
        with suppress(MeshError, OSError), trio.move_on_after(ANSWER_S):
            answer = await call_unix(self.socket, "GET", target)
            return answer.body if answer.status == 200 else None
        return None


class Supervisor:
    """Building it binds the ports for health and metrics.

    Args:
        config: of the gateway, `workers` of it.
        command: what starts a gateway, but for `--config`.
    """

    def __init__(self, config: Config, command: Sequence[str]) -> None:
        self._workers = [_Worker(number, worker_config(config, number)) for number in range(1, config.workers + 1)]
        self._command = command
        self._totals = Totals()
        self._restarts = 0
        self._starting = 0          # children whose number is not known yet
        self._leaving = trio.Event()
        self._status = 0
        self._listeners = [(listen_tcp(wildcard(), port), handler) for port, handler in (
            (config.listen.health, self.health), (config.listen.metrics, self.metrics),
        )]

    # -- what is told

    async def health(self, call: Call) -> Answer:
        match call.path:
            case "/healthz/ready":
                obstacles = await self._obstacles()
                return Answer(503 if obstacles else 200, ("; ".join(obstacles) or "ready").encode() + b"\n", "text/plain")
            case "/healthz/started" | "/healthz/live":
                return Answer(200, b"ok\n", "text/plain")
            case _:
                return Answer(404, b"no such probe\n", "text/plain")

    async def metrics(self, call: Call) -> Answer:
        if call.path != "/metrics":
            return Answer(404, b"only /metrics\n", "text/plain")
        answered = await self._ask_all("/metrics")
        for number, text in answered.items():
            self._totals.take(number, text.decode())
        own: dict[str, float] = {"bartizan_workers": len(answered), "bartizan_worker_restarts_total": self._restarts}
        if len(answered) < len(self._workers):
            own["bartizan_ready"] = 0
        return Answer(200, self._totals.render(answered, own).encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def _obstacles(self) -> list[str]:
        """What stands against being ready, in words."""
        if self._leaving.is_set():
            return ["draining"]
        answered = await self._ask_all("/status")
        found = []
        for worker in self._workers:
            text = answered.get(worker.number)
            obstacles = ["it does not answer"] if text is None else msgspec.json.decode(text, type=_Status).obstacles
            found += [f"worker {worker.number}: {obstacle}" for obstacle in obstacles]
        return found

    async def _ask_all(self, target: str) -> dict[int, bytes]:
        """What those answer that do, by number."""
        answered = {}

        async def ask(worker: _Worker) -> None:
            if (text := await worker.ask(target)) is not None:
                answered[worker.number] = text

        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                nursery.start_soon(ask, worker)
        return dict(sorted(answered.items()))

    # -- what runs

    async def run(self) -> int:
        """Until the last worker has ended; returns the exit status. Cancelled, it kills them."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD) as signals:
            async with trio.open_nursery() as nursery:
                for listener, handler in self._listeners:
                    nursery.start_soon(serve_listener, listener, partial(serve_own, handler), Tally())

                async def hear() -> None:
                    async for which in signals:
                        if which == signal.SIGCHLD:
                            self._reap()
                        else:
                            self._leave()

                nursery.start_soon(hear)
                async with trio.open_nursery() as working:
                    for worker in self._workers:
                        working.start_soon(self._keep, worker)
                nursery.cancel_scope.cancel()
        return self._status

    def _leave(self) -> None:
        """Each of them drains; told again, they hurry."""
        self._leaving.set()
        for worker in self._workers:
            worker.signal(signal.SIGTERM)

    async def _keep(self, worker: _Worker) -> None:
        """A process in this place for as long as we are not leaving."""
        in_vain = 0
        while not self._leaving.is_set():
            began = trio.current_time()
            status = await self._live(worker)
            self._totals.ended(worker.number)
            if self._leaving.is_set():
                self._status = self._status or int(status != 0)
                return
            in_vain = 1 if trio.current_time() - began >= STEADY_S else in_vain + 1
            what = f"worker {worker.number} ended, {_words(status)}"
            if in_vain >= STARTS_IN_VAIN:
                _say(f"{what}, soon after each of {in_vain} starts: the gateway ends; what the worker said before is the cause")
                self._status = 1
                self._leave()
                return
            pause = min(PAUSE_FIRST_S * 2 ** (in_vain - 1), PAUSE_MOST_S)
            _say(f"{what}; another is started in {pause:g} s")
            self._restarts += 1
            with trio.move_on_after(pause):
                await self._leaving.wait()

    async def _live(self, worker: _Worker) -> int:
        """From the start of a process to its end; returns its status."""
        self._starting += 1
        with trio.CancelScope(shield=True):     # a child that nobody knows of could not be ended
            process = worker.process = await trio.lowlevel.open_process(
                [*self._command, "--config", f"env:{CONFIG}"], stdin=subprocess.PIPE, env=worker.environment,
                process_group=0,    # what a terminal sends to all of a group we pass on: once
            )
        self._starting -= 1
        try:
            if self._leaving.is_set():      # it was told to all but this one
                worker.signal(signal.SIGTERM)
            return await process.wait()
        finally:
            worker.process = None
            if process.returncode is None:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
            self._reap()

    def _reap(self) -> None:
        if os.getpid() == 1 and not self._starting:
            reap_strangers({worker.process.pid for worker in self._workers if worker.process is not None})


def reap_strangers(own: set[int]) -> None:
    """Children that we have not started, as the first process of a container has them: nobody else asks how they ended."""
    with suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None and found.si_pid not in own:
            os.waitpid(found.si_pid, 0)


def _words(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _say(what: str) -> None:
    print(f"bartizan: {what}", file=sys.stderr, flush=True)


def own_command(argv: Sequence[str]) -> list[str]:
    """By which this process was started.

    Args:
        argv: its last arguments, which are left out.
    """
    return [sys.executable, *sys.orig_argv[1:len(sys.orig_argv) - len(argv)]]


async def end_with_supervisor() -> None:
    """For its workers. It writes nothing to their standard input: when there is something to read there, it is the end."""
    await trio.lowlevel.wait_readable(0)
    signal.raise_signal(signal.SIGTERM)


async def supervise(config: Config, command: Sequence[str]) -> int:
    """Run a gateway of several workers to its end; returns the exit status. ConfigError: a port cannot be had."""
    return await Supervisor(config, command).run()
