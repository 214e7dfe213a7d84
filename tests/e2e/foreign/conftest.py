"""One mesh for all of these tests; each sees what the sidecars wrote down, and the wires, since it began."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.netns import Wire
from tests.helpers.pods import Evidence

from .mesh import Mesh
from .servers import serve_all


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deselected by `make test`, since it wants programs of others; nothing is ever skipped here."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.foreign)


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with ExitStack() as stack:
        made = Mesh(stack, tmp_path_factory.mktemp("mesh"))
        serve_all(made)
        yield made


@pytest.fixture(autouse=True)
def evidence(mesh: Mesh) -> Iterator[Evidence]:
    """And no sidecar has complained meanwhile: what it writes there are tracebacks."""
    before = {pod: pod.complaints() for pod in mesh.meshed_pods}
    yield Evidence.from_now(mesh.meshed_pods)
    for pod in mesh.meshed_pods:
        assert pod.complaints().removeprefix(before[pod]) == "", pod.name
        assert pod.sidecar.poll() is None, f"the sidecar of {pod.name} has ended"


@pytest.fixture
def secret(mesh: Mesh) -> Iterator[str]:
    """A text for bodies: what the pods sent while the test ran, and there was something, does not hold it."""
    wire = Wire(mesh.node, "web", "orders", "second", "archive")
    text = secrets.token_hex(16)
    try:
        yield text
        packets = wire.seen()
    finally:
        wire.close()
    assert packets
    assert not [packet for packet in packets if text.encode() in packet]
