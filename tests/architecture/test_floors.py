"""The rules of the house that a reader may rely on: imports go down, every library has its owner, and proofs their makers."""

import ast
import subprocess
import sys
from fnmatch import fnmatch

import pytest

from sidecar.model.reason import Reason
from sidecar.proxy.respond import TABLE

from .sources import PACKAGES, ROOT, Source, calls, imports, sources

ALL = sources(*PACKAGES)
SIDECAR = [source for source in ALL if source.name.startswith("sidecar/")]
named = pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
of_the_sidecar = pytest.mark.parametrize("source", SIDECAR, ids=lambda source: source.name)

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)

# What each part of the sidecar may import of the others; itself always. See sidecar/__init__.py.
BELOW = {
    "model": set(),
    "policy": {"model"},
    "protocol": {"model"},
    "telemetry": {"model"},
    "intercept": {"model"},
    "net": {"model", "protocol", "telemetry"},
    "control": {"model", "protocol", "telemetry", "intercept", "net"},
    "proxy": {"model", "policy", "protocol", "telemetry", "intercept", "net"},
    "doors": {"model", "net"},
    "supervisor": {"model", "telemetry", "net", "doors"},
    "parts": {"model", "policy", "telemetry", "net", "control", "proxy", "supervisor", "doors"},
    "main": {"model", "net", "supervisor", "parts"},
    "start": {"main"},
    "__main__": {"start"},
    "__init__": set(),
}
LIBRARY = {"model", "policy", "protocol", "net"}    # what certs and injector stand on
BESIDES = {
    # It shows which packet rule answers which attempt.
    "injector/demo/*": {"intercept"},
    # The sidecar's own question for a snapshot, by the hundred.
    "injector/bench/control/sidecars.py": {"control.keyring", "control.snapshot_stream"},
    # Its own counters are counted and rendered as the sidecar's are.
    "injector/server.py": {"telemetry.metrics"},
}


def part(source: Source) -> str:
    return source.name.split("/")[1].removesuffix(".py")


def parts_of_the_sidecar(source: Source) -> set[str]:
    """`net.dial` for `from sidecar.net.dial import Dialer`."""
    return {".".join(name.split(".")[1:3]) for name in imports(source) if name.startswith("sidecar.")}


@of_the_sidecar
def test_imports_go_down_only(source: Source) -> None:
    own = part(source)
    above = {name for name in parts_of_the_sidecar(source) if name.split(".")[0] not in BELOW[own] | {own}}
    assert above == set()


@of_the_sidecar
def test_the_sidecar_knows_neither_the_issuer_nor_the_injector(source: Source) -> None:
    assert {name for name in imports(source) if name.split(".")[0] in ("certs", "injector")} == set()


@pytest.mark.parametrize("source", [source for source in ALL if source not in SIDECAR], ids=lambda source: source.name)
def test_issuer_and_injector_stand_on_the_library(source: Source) -> None:
    besides = {name for pattern, names in BESIDES.items() if fnmatch(source.name, pattern) for name in names}
    others = {name for name in parts_of_the_sidecar(source) if name.split(".")[0] not in LIBRARY}
    assert {name for name in others if name not in besides and name.split(".")[0] not in besides} == set()


def test_the_issuer_does_not_know_the_injector() -> None:
    assert [source.name for source in ALL if source.name.startswith("certs/")
            for name in imports(source) if name.startswith("injector")] == []


# -- owners

OWNERS = {
    "h11": {"sidecar/protocol/http1.py"},
    "h2": set(),    # in tests only: the other end, and the law that ours is tested against
    "hpack": {"sidecar/protocol/http2/header_block.py"},
    "OpenSSL": {"sidecar/net/tls_*.py", "sidecar/net/verify.py"},
    "service_identity": {"sidecar/net/verify_host.py"},
    # Certificates as values: made, checked, shown and passed on.
    "cryptography": {
        "certs/*", "injector/*", "sidecar/net/anchors.py", "sidecar/net/tls_context.py", "sidecar/net/verify.py",
        "sidecar/net/tls_external.py", "sidecar/net/verify_host.py",
        "sidecar/net/service.py", "sidecar/net/jwt.py", "sidecar/net/issuance.py", "sidecar/net/presented.py",
        "sidecar/control/issuance.py", "sidecar/control/kept_identity.py", "sidecar/control/file_identity.py", "sidecar/control/admin.py",
        "sidecar/control/application_svid.py", "sidecar/control/workload_api.py",
    },
    "dns": {"sidecar/protocol/dns_message.py", "sidecar/net/resolve.py", "sidecar/proxy/dns_guard.py", "injector/demo/*"},
    "re2": {"sidecar/policy/pattern.py"},
    "bcrypt": {"sidecar/net/passwords.py", "injector/*"},
    "yaml": {"injector/*"},
    "jsonpatch": {"injector/*"},
    "subprocess": {"sidecar/intercept.py", "sidecar/supervisor.py", "injector/cli/*", "injector/demo/*", "injector/bench/*"},
    "time": {"sidecar/net/clock.py", "injector/demo/*", "injector/bench/*"},
    "ssl": {"injector/demo/*"},
    "threading": {"injector/demo/*"},
    "asyncio": set(),
    "multiprocessing": set(),
}


@named
def test_every_library_has_its_owner(source: Source) -> None:
    used = {name.split(".")[0] for name in imports(source)} & OWNERS.keys()
    assert {name for name in used if not any(fnmatch(source.name, owner) for owner in OWNERS[name])} == set()


@of_the_sidecar
def test_only_net_touches_sockets(source: Source) -> None:
    """Elsewhere `socket.socket` is the type of what a listener hands over."""
    touched = {name for name in calls(source) if name.startswith(("socket.", "trio.socket."))}
    assert touched == set() or source.name.startswith("sidecar/net/")


@of_the_sidecar
def test_only_one_file_makes_a_generator(source: Source) -> None:
    assert {name for name in calls(source) if name.startswith("random.")} == set() or source.name == "sidecar/parts.py"


# -- proofs


@pytest.mark.parametrize(("proof", "makers"), [
    ("Permit", {"sidecar/policy/authorize.py", "sidecar/policy/egress.py"}),
    ("SpiffeId", {"sidecar/model/identity.py"}),
])
def test_a_proof_is_made_by_its_makers_only(proof: str, makers: set[str]) -> None:
    assert {source.name for source in ALL for name in calls(source) if name.split(".")[-1] == proof} == makers


def test_every_reason_has_its_answer() -> None:
    assert set(TABLE) == set(Reason)
    assert all(400 <= row.status <= 599 and 1 <= row.grpc <= 16 for row in TABLE.values())


# -- what a pod loads

NEVER_IN_A_POD = (
    "asyncio", "yaml", "rich", "click", "pydantic", "jsonpatch", "multiprocessing", "concurrent.futures", "sqlite3", "http.server",
    "injector", "certs",
    "service_identity",     # with the first originated connection
    "re2",                  # with the first expression
    "bcrypt",               # with the first password
    "hpack", "h2", "sidecar.protocol.http2", "sidecar.net.http2",   # with the first connection that speaks HTTP/2
    "_ssl", "_hashlib",     # a second OpenSSL: sidecar/start.py
)


def test_the_pod_loads_what_it_needs() -> None:
    ask = (
        "import sys; from sidecar.start import keep_out; keep_out(); import sidecar.main; "
        f"print([name for name in {NEVER_IN_A_POD!r} if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@named
def test_importing_does_nothing(source: Source) -> None:
    """No file opens, listens, prints, reads the environment or starts anything by being imported: `main` makes what there is."""
    forbidden = ("open(", "os.", "socket.socket(", "trio.", "subprocess.", "print(", "signal.", "SSL.Context(", "sys.argv")
    done = [ast.unparse(node) for node in source.tree.body if not isinstance(node, DEFINITIONS) and not is_of_the_program(node)]
    assert [line for line in done if line.partition(" = ")[2].startswith(forbidden) or line.startswith(forbidden)] == []


def is_of_the_program(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":`"""
    return isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__")


def test_the_eyes_of_these_tests() -> None:
    """Imports are seen wherever they stand, relative ones at their place; calls by their whole name."""
    text = "import h11\nfrom . import head\nfrom ..model import ports as p\ndef f():\n    from sidecar.net.dial import Dialer\n    a.b(c())"
    source = Source("sidecar/net/x.py", ast.parse(text))
    assert imports(source) == {
        "h11", "sidecar.net", "sidecar.net.head", "sidecar.model", "sidecar.model.ports", "sidecar.net.dial", "sidecar.net.dial.Dialer",
    }
    assert parts_of_the_sidecar(source) == {"net", "net.head", "model", "model.ports", "net.dial"}
    assert sorted(calls(source)) == ["a.b", "c"]
