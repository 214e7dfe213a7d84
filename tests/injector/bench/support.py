"""What the load generators print, as they printed it; places for configurations; a small result."""

from pathlib import Path
from typing import Any

from injector.bench.layout import ADDRESS, Place
from injector.bench.report import document
from injector.bench.workloads import WORKLOADS

WRK = """Running 2s test @ http://10.9.1.2:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.03ms  347.51us   9.65ms   96.50%
    Req/Sec    31.36k     1.62k   33.18k    85.00%
  Latency Distribution
     50%    0.99ms
     75%    1.07ms
     90%  870.00us
     99%    2.19ms
  62394 requests in 2.00s, 77.31MB read
Requests/sec:  31176.18
Transfer/sec:     38.63MB
"""
H2LOAD = """starting benchmark...
spawning thread #0: 4 total client(s). Timing-based test with 0s of warm-up time and 2s of main duration for measurements.
Warm-up started for thread #0.
Progress: 100% done
Application protocol: h2c

finished in 2.00s, 25693.00 req/s, 26.13MB/s
requests: 51386 total, 51514 started, 51386 done, 51386 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 51420 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 52.26MB (54796804) total, 351.53KB (359961) headers (space savings 95.01%), 50.18MB (52618240) data
"""


def place(folder: Path) -> Place:
    return Place(folder, ADDRESS["mesh"], folder)


def result(**of_first: Any) -> dict[str, Any]:
    """A document of two rounds: CPU and latency of workload `a`, and of two sidecars at two rates.

    Args:
        of_first: other rounds of `a`, and why there are none, by proxy.
    """
    def rounds(*figures: tuple[float, float]) -> tuple[list[dict[str, float]], str]:
        return [{"cpu_us": cpu, "p50_ms": p99 / 2, "p99_ms": p99} for cpu, p99 in figures], ""

    of_calls = {"bartizan": rounds((200.0, 0.5), (210.0, 0.7)), "envoy": rounds((100.0, 1.0), (105.0, 1.0))}
    results = {
        "a": {"bartizan": rounds((50.0, 0.2), (54.0, 0.2)), "envoy": rounds((25.0, 0.4), (27.0, 0.4)), **of_first},
        "c_100": of_calls, "c_1000": of_calls,
    }
    machine = {"cpu": "C", "cores": 2, "shared_core": True, "memory_mb": 8000, "kernel": "6.1", "load_average": [0.0]}
    return document([workload for workload in WORKLOADS if workload.name in results], results, machine=machine,
                    date="2026-01-02T03:04+00:00", versions={"bartizan": "0.1.0", "envoy": ""}, rounds=2, seconds=5)
