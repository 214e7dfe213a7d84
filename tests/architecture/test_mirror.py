"""Every source file has its test file, in the same place, or a folder of them; what has none says why."""

from pathlib import Path

import pytest

from .sources import PACKAGES, ROOT, Source, sources

VALUES = "values without behaviour: whatever judges or fills them is tested"
RUNS = "a part of a running process: each run of the demo is a test of it"
UNTESTED: dict[str, str] = {
    "sidecar/__main__.py": "one call",
    "sidecar/doors.py": "a part of a running process: tests/e2e/test_gateway.py and each run of the demo are tests of it",
    "sidecar/main.py": RUNS,
    "sidecar/parts.py": RUNS,
    "sidecar/model/call.py": VALUES,
    "sidecar/model/client.py": VALUES,
    "sidecar/model/ledger.py": VALUES,
    "sidecar/model/needs.py": VALUES,
    "sidecar/net/ends.py": "interfaces only",
    "sidecar/protocol/http2/control.py": "the engine's lower half: tests/protocol/http2/test_engine.py and test_flood.py try the whole",
    "sidecar/protocol/http2/events.py": VALUES,
    "sidecar/protocol/http2/stream.py": VALUES,
    "sidecar/proxy/plan.py": VALUES,
    "sidecar/proxy/exchange.py": VALUES,
    "sidecar/proxy/as_application.py": "tests/proxy/test_explain.py tries it through the questions that need it",
    "sidecar/proxy/serve.py": "tests/proxy/test_http.py tries it through the loop",
    "sidecar/model/decision.py": VALUES,
    "injector/capture.py": RUNS,
    "injector/description.py": VALUES,
    "injector/cli/exits.py": VALUES,
    **{f"injector/documents/{name}.py": VALUES for name in (
        "__init__", "egress", "gateway_api", "network_policy", "policies", "ports", "routes")},
    "injector/compile/said.py": VALUES,
    "injector/server.py": RUNS,
    "injector/demo/capture.py": RUNS,
    "injector/demo/network.py": RUNS,
    "injector/demo/outside.py": RUNS,
    "injector/demo/runtime.py": RUNS,
    "injector/bench/errors.py": VALUES,
    **{f"injector/bench/control/{name}.py": "tests/injector/bench/control/test_rows.py runs it"
       for name in ("plane", "sidecars", "store", "reviews")},
    "injector/bench/world.py": "a part of a benchmark: tests/e2e/test_bench.py runs a quick one",
    **{f"injector/demo/checks/{name}.py": "tests/e2e shows that each check can fail"
       for name in ("approvals", "change", "check", "edge", "explaining", "identity", "leaving", "mesh", "observing", "proving",
                    "speaking")},
}

# Tests of something that no one source file holds.
OF_THE_WHOLE = (
    "tests/architecture/", "tests/conformance/", "tests/e2e/", "tests/fuzz/", "tests/threats/", "tests/injector/test_examples.py",
    "tests/injector/test_examples_ingress.py", "tests/injector/test_torture.py",
)


def mirror(source: str) -> str:
    """`sidecar/net/pool.py` -> `tests/net/test_pool.py`; `certs/ca.py` -> `tests/certs/test_ca.py`; a package by its own name."""
    path = Path(source.removeprefix("sidecar/"))
    if path.name == "__init__.py":
        path = path.parent / path.parent.name
    return str("tests" / path.with_name(f"test_{path.stem}.py"))


def folder(source: str) -> Path:
    """Where the tests of one source are several files: `sidecar/proxy/outbound.py` -> `tests/proxy/outbound`."""
    path = Path(mirror(source))
    return path.with_name(path.stem.removeprefix("test_"))


def has_tests(source: str) -> bool:
    return (ROOT / mirror(source)).exists() or any((ROOT / folder(source)).glob("test_*.py"))


def has_code(source: Source) -> bool:
    """Not so a package that is nothing but its docstring."""
    return len(source.tree.body) > 1


SOURCES = [source.name for source in sources(*PACKAGES) if has_code(source)]


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_its_tests_or_a_reason(source: str) -> None:
    assert has_tests(source) != (source in UNTESTED), f"{mirror(source)}, or a reason among UNTESTED: just one"


def test_reasons_are_given_for_sources_that_exist() -> None:
    assert UNTESTED.keys() - set(SOURCES) == set()


def test_every_test_has_its_source() -> None:
    mirrored = {mirror(source) for source in SOURCES}
    folders = {folder(source) for source in SOURCES if not source.endswith("__init__.py")}
    found = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    without = {str(path) for path in found if str(path) not in mirrored and path.parent not in folders}
    assert {path for path in without if not path.startswith(OF_THE_WHOLE)} == set()
