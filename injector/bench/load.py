"""The load generators: their command lines, and what they say, read strictly. What is not understood or failed is no result."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import NotAvailable

_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked and answered, and how long that took."""

    requests: int
    per_s: float
    p50_us: float
    p99_us: float


def wrk_argv(url: str, connections: int, seconds: float, host: str = "", script: str = "") -> list[str]:
    """
    Args:
        host: what Host says, where that is not the URL's.
        script: file, in Lua.
    """
    said = ["-H", f"Host: {host}"] if host else []
    paced = ["-s", script] if script else []
    return ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "10s", *said, *paced, url]


def pace(connections: int, per_s: float) -> str:
    """A script of wrk's: each connection rests between an answer and its next request, so long that all of them together ask so often.

    By chance, so that they do not fall into step: of requests that come all at once each would wait for those before it.
    """
    return f"function delay() return math.random(0, {round(2000 * connections / per_s)}) end\n"


def read_wrk(text: str) -> Load:
    """Raises NotAvailable: an error, or an answer other than 2xx and 3xx, among them."""
    for bad in (r"Socket errors:.*", r"Non-2xx or 3xx responses: \d+"):
        if (found := re.search(bad, text)) is not None:
            raise NotAvailable(f"wrk says {found[0]}")
    requests = _number(r"(\d+) requests in", text)
    if not requests:
        raise NotAvailable("wrk had no answer")
    return Load(int(requests), _number(r"Requests/sec:\s+([\d.]+)", text), _wrk_time("50", text), _wrk_time("99", text))


def _wrk_time(percent: str, text: str) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)$", text, re.MULTILINE)
    if found is None:
        raise NotAvailable(f"wrk's output has no {percent}th percentile")
    return float(found[1]) * _UNITS[found[2]]


def h2load_argv(
    url: str, *, connections: int, streams: int, seconds: float, log: str, is_http1: bool = False, connect_to: str = "",
    fields: Sequence[str] = (), body: str = "",
) -> list[str]:
    """
    Args:
        streams: at a time on each connection.
        log: file for the time of each request, which the percentiles are taken from.
        connect_to: instead of the URL's host.
        fields: `name: value`, of the head.
        body: file; empty: GET.
    """
    return ["h2load", *(["--h1"] if is_http1 else []), f"-c{connections}", f"-m{streams}", f"-D{round(seconds * 1000)}ms",
            *([f"--connect-to={connect_to}"] if connect_to else []), *(f"--header={field}" for field in fields),
            *([f"--data={body}"] if body else []), f"--log-file={log}", url]


def h2load_once_argv(url: str, host: str = "", connect_to: str = "") -> list[str]:
    """One request, to see whether HTTP/2 is spoken there at all; with `host` one of HTTP/1.1 that says so."""
    said = ["--h1", f"--header=:authority: {host}"] if host else []
    where = [f"--connect-to={connect_to}"] if connect_to else []
    return ["h2load", "-n1", "-c1", "--connection-active-timeout=2s", *where, *said, url]


def read_h2load(text: str, log: Iterable[str]) -> Load:
    """
    Args:
        log: lines of start, status and duration in us.
    """
    found = re.search(r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    if found is None:
        raise NotAvailable("h2load's output has no line about requests")
    # At the end of a timed run, started requests are cut off; those are not counted as failed.
    succeeded, failed, errored = int(found[4]), int(found[5]), int(found[6])
    if failed or errored or not succeeded:
        raise NotAvailable(f"h2load says {found[0]}")
    times = sorted(int(line.split("\t")[2]) for line in log)
    per_s = _number(r"finished in [\d.]+\w+, ([\d.]+) req/s", text)
    return Load(succeeded, per_s, percentile(times, 50), percentile(times, 99))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed (nearest rank). NotAvailable if there is none."""
    if not ordered:
        raise NotAvailable("no time was taken")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise NotAvailable(f"the load generator's output has no `{pattern}`")
    return float(found[1])
