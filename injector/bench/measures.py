"""What workloads come to: the names of their numbers, how each is shown, and the counts that these names speak of."""

from dataclasses import dataclass

OPEN = 1000
FEW_ROUTES, MANY_ROUTES = 10, 10_000
FEW_HOSTS, MANY_HOSTS = 10, 10_000

Numbers = dict[str, float]      # by the names of MEASURES


@dataclass(frozen=True, slots=True)
class Measure:
    """
    Args:
        better: whether less or more of it is.
        has_ratio: whether it is compared to the reference.
    """

    label: str
    digits: int
    better: str = "less"
    has_ratio: bool = True


MEASURES = {
    "cpu_us": Measure("CPU us", 1),
    "kernel_us": Measure("of it kernel us", 1),
    "p50_ms": Measure("p50 ms", 3),
    "p99_ms": Measure("p99 ms", 3),
    "rss_mb": Measure("MB", 1),
    "unshared_mb": Measure("unshared MB", 1),
    "per_s": Measure("per s", 0, "more", has_ratio=False),
    "full_p99_ms": Measure("p99 ms, full load", 2),
    "direct_p50_ms": Measure("direct p50 ms", 3, has_ratio=False),
    "direct_p99_ms": Measure("direct p99 ms", 3, has_ratio=False),
    "grpc_cpu_us": Measure("gRPC CPU us", 1),
    "grpc_p99_ms": Measure("gRPC p99 ms", 3),
    "cpu_s_per_gb": Measure("CPU s/GB", 3),
    "mb_per_s": Measure("MB/s", 0, "more", has_ratio=False),
    "down_cpu_s_per_gb": Measure("down CPU s/GB", 3),
    "up_cpu_s_per_gb": Measure("up CPU s/GB", 3),
    "ready_s": Measure("ready s", 3),
    "idle_mb": Measure("idle MB", 1),
    "idle_unshared_mb": Measure("idle unshared MB", 1),
    "few_cpu_us": Measure(f"CPU us, {FEW_ROUTES} routes", 1),
    "many_cpu_us": Measure(f"CPU us, {MANY_ROUTES} routes", 1),
    "few_hosts_cpu_us": Measure(f"CPU us, {FEW_HOSTS} hosts", 1),
    "many_hosts_cpu_us": Measure(f"CPU us, {MANY_HOSTS} hosts", 1),
    "growth": Measure("growth", 2, has_ratio=False),
    "http2_cpu_us": Measure("HTTP/2 CPU us", 1),
    "few_rules_cpu_us": Measure(f"CPU us, {FEW_HOSTS} rules", 1),
    "many_rules_cpu_us": Measure(f"CPU us, {MANY_HOSTS} rules", 1),
    "in_force_s": Measure("in force s", 2, has_ratio=False),
    "issued_cpu_us": Measure("SVID CPU us", 1),
    "bare_cpu_us": Measure("bare CPU us", 1),
    "over_bare": Measure("over bare", 2, has_ratio=False),
    "all_p50_ms": Measure("to all p50 ms", 0, has_ratio=False),
    "all_p99_ms": Measure("to all p99 ms", 0, has_ratio=False),
    "change_ms": Measure("CPU ms a change", 1, has_ratio=False),
    "idle_percent": Measure("idle CPU %", 1, has_ratio=False),
    "first_s": Measure("CPU s to all", 2, has_ratio=False),
    "rss_unshared_mb": Measure("injector unshared MB", 1, has_ratio=False),
    **{f"{name}_growth": Measure(f"growth of {label}", 2, has_ratio=False) for name, label in (
        ("change_ms", "a change"), ("idle_percent", "idle"), ("first_s", "to all"), ("rss_mb", "MB"))},
    "most_growth": Measure("most growth", 2, has_ratio=False),
}
