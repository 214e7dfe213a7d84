"""One world for all of these tests, and a pod with fresh rules for each."""

from collections.abc import Iterator

import pytest

from sidecar.model.passage import NOTHING
from tests.e2e.interception.support import EXEMPTIONS, PASSAGE, Pod
from tests.helpers.netns import World, world


@pytest.fixture(scope="package")
def where() -> Iterator[World]:
    with world() as where:
        yield where


@pytest.fixture(params=EXEMPTIONS)
def pod(request: pytest.FixtureRequest, where: World) -> Pod:
    return Pod(where, EXEMPTIONS[request.param])


@pytest.fixture(params=EXEMPTIONS)
def passing(request: pytest.FixtureRequest, where: World) -> Iterator[Pod]:
    """One whose MeshPolicy lets something pass."""
    pod = Pod(where, EXEMPTIONS[request.param], PASSAGE)
    yield pod
    pod.passage = NOTHING
    pod.load()      # with what passes no more taken out
