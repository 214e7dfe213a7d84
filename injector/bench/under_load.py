"""What a proxy uses, and how long it takes, while a load generator asks it."""

import subprocess
from collections.abc import Callable, Sequence

from .errors import NotAvailable
from .load import Load, h2load_argv, pace, read_h2load, read_wrk, wrk_argv
from .measures import Numbers
from .world import FOLDER, Serving

WARM_UP_S = 1.0
STUCK_S = 20.0
CONNECTIONS = 32
PACED_PER_S = 1000
# By rate, so many that each rests for 32 ms on average, or 80.
PACED_CONNECTIONS = {100: 8, PACED_PER_S: 32, 3000: 96}

Ask = Callable[[float], Load]


def measured(serving: Serving, ask: Ask, seconds: float) -> Numbers:
    """A short run to warm up, then one that counts."""
    ask(min(WARM_UP_S, seconds / 2))
    before, kernel_before = serving.cpu_s(), serving.kernel_s()
    load = ask(seconds)
    used, in_kernel = serving.cpu_s() - before, serving.kernel_s() - kernel_before
    resident, unshared = serving.memory_mb()
    return {"cpu_us": used / load.requests * 1e6, "kernel_us": in_kernel / load.requests * 1e6, "p50_ms": load.p50_us / 1e3,
            "p99_ms": load.p99_us / 1e3, "per_s": load.per_s, "rss_mb": resident, "unshared_mb": unshared}


def at_full_load_and_paced(serving: Serving, seconds: float) -> Numbers:
    """CPU as fast as answers come; latency at a fixed rate, since at full load it is a queue's length."""
    full = measured(serving, wrk(serving, CONNECTIONS), seconds)
    load = paced(serving, PACED_PER_S)(seconds)
    return full | {"p50_ms": load.p50_us / 1e3, "p99_ms": load.p99_us / 1e3, "full_p99_ms": full["p99_ms"]}


def says(argv: list[str], seconds: float) -> str:
    """
    Args:
        seconds: that it asks; a proxy that gets stuck would keep it for ever.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=seconds + STUCK_S)
    except subprocess.TimeoutExpired:
        raise NotAvailable(f"{argv[0]} had not ended {STUCK_S:g} s after its time") from None
    if done.returncode:
        raise NotAvailable(f"{argv[0]} failed: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


def wrk(serving: Serving, connections: int, url: str = "", script: str = "") -> Ask:
    if serving.is_forward:
        script += f'wrk.path = "{serving.target}"\n'
    file = FOLDER / "wrk.lua"

    def ask(seconds: float) -> Load:
        file.write_text(script)
        argv = [*serving.where, *wrk_argv(url or serving.url(), connections, seconds, serving.authority, str(file))]
        return read_wrk(says(argv, seconds))

    return ask


def paced(serving: Serving, per_s: int) -> Ask:
    connections = PACED_CONNECTIONS[per_s]
    return wrk(serving, connections, script=pace(connections, per_s))


def h2load(
    serving: Serving, connections: int, streams: int, *, path: str = "", is_http1: bool = False, fields: Sequence[str] = (), body: str = ""
) -> Ask:
    def ask(seconds: float) -> Load:
        log = FOLDER / "h2load.log"
        log.unlink(missing_ok=True)
        argv = h2load_argv(serving.url(path=path), connections=connections, streams=streams, seconds=seconds, log=str(log),
                           is_http1=is_http1, connect_to=serving.connect_to, fields=fields, body=body)
        text = says(argv, seconds)
        with open(log) as lines:
            return read_h2load(text, lines)

    return ask
