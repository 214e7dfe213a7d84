"""Imports go down only, and what has an owner is used by its owner only."""

import subprocess
import sys

import pytest

from sidecar.model.reason import Reason
from sidecar.proxy.respond import TABLE

from .sources import ROOT, calls, files, imports

# What each part may import of ours, itself always included. The floors are those of sidecar/__init__.py.
FLOOR_0 = ("sidecar.model",)
FLOOR_1 = ("sidecar.policy", "sidecar.protocol", "sidecar.telemetry", "sidecar.intercept")
ALLOWED: dict[str, tuple[str, ...]] = {
    "sidecar.model": (),
    **dict.fromkeys(FLOOR_1, FLOOR_0),
    "sidecar.net": (*FLOOR_0, "sidecar.protocol"),
    "sidecar.control": (*FLOOR_0, "sidecar.intercept", "sidecar.protocol", "sidecar.telemetry", "sidecar.net"),
    "sidecar.proxy": (*FLOOR_0, *FLOOR_1, "sidecar.net"),
    "sidecar.main": ("sidecar",),
    "sidecar.__main__": ("sidecar.main",),
    "sidecar": (),
    "certs": (*FLOOR_0, "sidecar.net"),
    "injector": (*FLOOR_0, *FLOOR_1, "sidecar.net"),
}

# A library, and the only files that may import it.
OWNERS: dict[str, tuple[str, ...]] = {
    "h11": ("sidecar/protocol/http1.py",),
    "OpenSSL": ("sidecar/net/tls_context.py", "sidecar/net/tls_stream.py", "sidecar/net/verify.py"),
    "yaml": ("injector/",),
    "subprocess": ("sidecar/intercept.py", "injector/demo/"),
    "cryptography": ("certs/", "injector/demo/", "sidecar/net/", "sidecar/control/"),
    "ssl": ("injector/demo/",),
    "asyncio": (),
}

# A constructor, and the only files that may call it.
MAKERS: dict[str, tuple[str, ...]] = {
    "Permit": ("sidecar/policy/authorize.py", "sidecar/policy/egress.py"),
    "SpiffeId": ("sidecar/model/identity.py",),
}


def is_within(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def part_of(module: str) -> str:
    return max((part for part in ALLOWED if is_within(module, part)), key=len)


@pytest.mark.parametrize("file", files())
def test_imports_go_down_only(file: str) -> None:
    part = part_of(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    ours = [name for name in imports(file) if any(is_within(name, package) for package in ("sidecar", "certs", "injector"))]
    upward = [name for name in ours if not any(is_within(name, allowed) for allowed in (part, *ALLOWED[part]))]
    # `from sidecar import intercept` names the package besides.
    assert [name for name in upward if name != "sidecar"] == []


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_owner_only(library: str) -> None:
    users = [file for file in files() if any(is_within(name, library) for name in imports(file))]
    assert [file for file in users if not file.startswith(OWNERS[library])] == []
    assert bool(users) == bool(OWNERS[library])


@pytest.mark.parametrize("name", MAKERS)
def test_proof_is_made_by_its_judge_only(name: str) -> None:
    assert {file for file in files() if name in calls(file)} == set(MAKERS[name])


def test_every_reason_has_a_status() -> None:
    assert set(TABLE) == set(Reason)


def test_what_a_pod_does_not_load() -> None:
    """In a process of its own: this one has loaded everything."""
    script = "import sys, sidecar.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    names = {name.partition(".")[0] for name in loaded}
    assert names & {"asyncio", "yaml", "jsonpatch", "service_identity", "injector", "certs", "rich", "pydantic"} == set()
    assert {"trio", "h11", "msgspec", "OpenSSL", "sidecar"} <= names
