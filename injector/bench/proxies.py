"""The proxies that are compared: how each is found, asked for its version, and set up for a job."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .bartizan import bartizan_config, bartizan_snapshot
from .edges import bartizan_gateway, envoy_gateway, haproxy_gateway, nginx_gateway
from .envoy import envoy_config
from .errors import NotAvailable
from .haproxy import haproxy_config
from .layout import Job, Place
from .nginx import STREAM_MODULE, nginx_config
from .python_peers import mitmproxy_argv, proxy_py_argv

SOURCE = Path(__file__).resolve().parents[2]
INSTALL = "`.ci/setup bench` installs it"
OURS = "bartizan"
REFERENCE = "envoy"
HTTP1 = ("a", "b")


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    Args:
        find: the program, or None if it is not installed.
        version_words: what to ask it for its version.
        set_up: writes its files for a job and returns the command.
        is_forward: it is asked by absolute URL.
        workloads: what it is compared in; empty: all.
    """

    name: str
    find: Callable[[], str | None]
    version_words: tuple[str, ...]
    set_up: Callable[[str, Job, Place], list[str]]
    is_forward: bool = False
    workloads: tuple[str, ...] = ()

    def program(self) -> str:
        found = self.find()
        if found is None:
            raise NotAvailable(f"{self.name} is not installed; {INSTALL}")
        return found

    def version(self) -> str:
        """Its number; "" if it is not installed."""
        program = self.find()
        if program is None:
            return ""
        done = subprocess.run([program, *self.version_words], capture_output=True, text=True, check=False)
        return version_in(done.stdout + done.stderr)


def version_in(text: str) -> str:
    """The first thing that looks like a version: `1.22.1`, `2.6.12-1+deb12u4`."""
    found = re.search(r"\b\d+\.\d+(\.\d+)?(-[\w.+]+)?", text)
    return found[0] if found else ""


def of_venv(name: str, source: Path = SOURCE) -> str | None:
    """A command of `.venv-bench`."""
    program = source / ".venv-bench" / "bin" / name
    return str(program) if program.exists() else None


def find_envoy(source: Path = SOURCE) -> str | None:
    """The binary itself, from the wheel in `.venv-bench`: its console command would cost the start of a Python."""
    binaries = sorted(source.glob(".venv-bench/lib/python3*/site-packages/envoy/_bin/envoy"))
    return str(binaries[0]) if binaries else shutil.which("envoy")


def _bartizan(program: str, job: Job, place: Place) -> list[str]:
    if job.kind == "gateway":
        return [program, "-m", "injector.cli.main", "gateway", "--config", place.write("gateway.json", bartizan_gateway(job, place))]
    snapshot = place.write("snapshot.json", bartizan_snapshot(job, place))
    return [program, "-m", "injector.cli.main", "sidecar", "--config", place.write("sidecar.json", bartizan_config(job, place, snapshot))]


def _envoy(program: str, job: Job, place: Place) -> list[str]:
    text = envoy_gateway(job, place) if job.kind == "gateway" else envoy_config(job, place)
    return [program, "--config-path", place.write("envoy.json", text), "--concurrency", str(job.workers),
            "--disable-hot-restart", "--log-level", "error"]


def _nginx(program: str, job: Job, place: Place) -> list[str]:
    if job.is_tcp and not Path(STREAM_MODULE).exists():
        raise NotAvailable(f"nginx's module for TCP is not installed; {INSTALL}")
    text = nginx_gateway(job, place) if job.kind == "gateway" else nginx_config(job, place)
    return [program, "-p", str(place.folder), "-e", "stderr", "-c", place.write("nginx.conf", text)]


def _haproxy(program: str, job: Job, place: Place) -> list[str]:
    text = haproxy_gateway(job, place) if job.kind == "gateway" else haproxy_config(job, place)
    place.write("prefixes.lst", "".join(f"{prefix}/\n" for prefix in job.prefixes))
    place.write("hosts.lst", "".join(f"{name}\n" for name in job.names))
    return [program, "-q", "-f", place.write("haproxy.cfg", text)]


PROXIES = (
    Proxy(OURS, lambda: sys.executable, ("-c", "import importlib.metadata as m; print(m.version('bartizan'))"), _bartizan),
    Proxy(REFERENCE, find_envoy, ("--version",), _envoy),
    Proxy("nginx", lambda: shutil.which("nginx"), ("-v",), _nginx),
    Proxy("haproxy", lambda: shutil.which("haproxy"), ("-v",), _haproxy),
    Proxy("mitmproxy", partial(of_venv, "mitmdump"), ("--version",), mitmproxy_argv, workloads=HTTP1),
    Proxy("proxy.py", partial(of_venv, "proxy"), ("--version",), proxy_py_argv, is_forward=True, workloads=HTTP1),
)
