"""What the other tests stand on, without a mesh: the node's network, names, probes, and the world outside."""

import pytest

from .images import Images
from .node import Node
from .node_files import OUTSIDE
from .space import Space

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def plain(node: Node, images: Images) -> Space:
    return Space("default", node.kubectl, images)


def test_pods_reach_each_other_by_name_over_both_families(plain: Space) -> None:
    plain.apply_app("orders")
    plain.apply_app("web")
    plain.ready("orders", "web")
    for family in ("-4", "-6"):
        answer = plain.curl("web", family, plain.url("orders"))
        assert (answer.status, answer.json["path"]) == (200, "/")
    assert plain.exec_in("web", "curl", "-sS", "--max-time", "2", f"http://{OUTSIDE[4]}:1/").returncode == 7     # nobody listens
    plain.run("delete", "deployment/web", "deployment/orders", "--wait=false")
