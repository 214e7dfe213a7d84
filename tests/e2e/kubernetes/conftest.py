"""One API server for the tests that need no pods, with the issuer's own account as its manifest has it; one node, and one mesh on it,
for those that do. Each test uses names of its own.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from certs.kubernetes import Api, ApiServer
from injector.manifests.plan import Plan
from injector.manifests.rbac import issuer_roles

from . import node as real
from .cluster import ISSUER, SYSTEM, Cluster, running
from .images import Images
from .node import Node


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deselected by `make test`, since it wants programs of others; nothing is ever skipped here."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.foreign)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("kubernetes")) as made:
        trio.run(prepare, made)
        yield made


async def prepare(cluster: Cluster) -> None:
    await cluster.apply(*({"kind": "Namespace", "metadata": {"name": name}} for name in (SYSTEM, "shop")))
    for account in ("web", "orders"):
        await cluster.account("shop", account)
    await cluster.apply(*issuer_roles(Plan(csr_signer=True)))


@pytest.fixture
async def issuer_server(cluster: Cluster) -> ApiServer:
    """The API server as the issuer's own account finds it, with what that account is allowed and no more."""
    return cluster.server_for(await cluster.token(SYSTEM, "bartizan-issuer", audience=ISSUER))


@pytest.fixture
def issuer_api(issuer_server: ApiServer) -> Api:
    return Api(issuer_server)


@pytest.fixture(scope="session")
def images() -> Images:
    return real.images()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory, images: Images) -> Iterator[Node]:
    """The one that KUBECONFIG names, or a node that is made here."""
    with real.found_or_made(tmp_path_factory.mktemp("node"), images) as made:
        yield made
