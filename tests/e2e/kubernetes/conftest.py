"""One API server for the tests that need no pods, with the issuer's own account as its manifest has it; one node, and one mesh on it,
for those that do. Each test uses names of its own.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from certs.kubernetes import Api, ApiError, ApiServer
from injector.cli.schema import definitions
from injector.cluster.kinds import KINDS, Collection
from injector.manifests.plan import Plan, read_plan
from injector.manifests.rbac import injector_roles, issuer_roles
from tests.helpers import pki
from tests.helpers.pods import wait_until

from . import node as real
from .cluster import ISSUER, SYSTEM, Cluster, running
from .images import Images
from .mesh import Mesh
from .node import Node
from .outside import PARTNER, Outside
from .space import Space

READY_S = 30.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deselected by `make test`, since it wants programs of others; nothing is skipped but for a cluster of others."""
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
def policies(cluster: Cluster) -> Cluster:
    """The cluster, in which our definitions are in force."""
    trio.run(_define, cluster)
    return cluster


async def _define(cluster: Cluster) -> None:
    for definition in definitions()["items"]:
        await cluster.admin.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition, dict)
    ours = [Collection(kind).path for kind in KINDS if kind.api_group == "bartizan.dev"]
    with trio.fail_after(READY_S):
        while True:
            try:
                for path in ours:
                    await cluster.admin.get(path, dict)
                return
            except ApiError:    # not served yet
                await trio.sleep(0.1)


@pytest.fixture(scope="session")
def granted(policies: Cluster) -> Cluster:
    """The cluster, in which the injector has what `install` grants it, with Secrets in namespace shop."""
    roles = injector_roles(read_plan(sets=["secretNamespaces=[shop]"]))
    trio.run(policies.apply, *roles)
    return policies


@pytest.fixture
async def injector_api(granted: Cluster) -> Api:
    return granted.api(await granted.token(SYSTEM, "bartizan-injector", audience=ISSUER))


@pytest.fixture(scope="session")
def images() -> Images:
    return real.images()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory, images: Images) -> Iterator[Node]:
    """The one that KUBECONFIG names, or a node that is made here."""
    with real.found_or_made(tmp_path_factory.mktemp("node"), images) as made:
        yield made


@pytest.fixture(scope="session")
def outside(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside | None]:
    """None if the cluster was not made here: nobody knows what would be outside of it."""
    if node.outside is None:
        yield None
        return
    ca, folder = pki.authority("partner"), tmp_path_factory.mktemp("outside")
    server = pki.issue(ca, pki.host(PARTNER))
    (folder / "chain.pem").write_text(server.chain_pem)
    (folder / "key.pem").write_text(server.key_pem)
    with ExitStack() as stack:
        log = folder / "log"
        node.outside.start(stack, log, sys.executable, Path(__file__).parent / "outside.py", folder)
        wait_until(lambda: log.read_text() == "ready\n", log.read_text)
        yield Outside(folder, ca.chain_pem)


@pytest.fixture(scope="session")
def mesh(node: Node, images: Images, outside: Outside | None) -> Mesh:
    """Installed, and at work. Nobody takes it away again: the last tests do that."""
    made = Mesh(node, images, outside)
    made.install()
    made.kubectl.apply(made.policy())
    with made.space("first") as space:
        made.wait_until_it_admits(space)
    return made


@pytest.fixture
def beyond(mesh: Mesh) -> Outside:
    if mesh.outside is None:
        pytest.skip("KUBECONFIG names a cluster that was not made here: where its outside would be, nobody knows")
    return mesh.outside


@dataclass(frozen=True)
class Lasting:
    """Two pods that are there from the first test on.

    Args:
        first: the fingerprint of web's first certificate.
    """

    space: Space
    first: str

    def certificate(self) -> str:
        """The fingerprint of the one that web shows to orders now."""
        return _shown(self.space)


@pytest.fixture(scope="session")
def lasting(mesh: Mesh) -> Iterator[Lasting]:
    with mesh.space("lasting") as made:
        made.apply_app("orders")
        made.apply_app("web")
        made.ready("orders", "web")
        yield Lasting(made, _shown(made))


def _shown(space: Space) -> str:
    found = re.search("Hash=([0-9a-f]+)", space.curl("web", space.url("orders")).arrived["x-forwarded-client-cert"])
    assert found is not None
    return found[1]


@pytest.fixture
def space(mesh: Mesh, lasting: Lasting, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace of the mesh, named after the test."""
    with mesh.space(re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:50].strip("-")) as made:
        yield made
