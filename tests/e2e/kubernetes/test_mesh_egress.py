"""What leaves the cluster: approved hosts, over TLS that the sidecar begins and verifies; to nobody else."""

import json
from collections.abc import Iterator

import pytest

from sidecar.model.reason import Reason

from .node_files import OUTSIDE
from .outside import PARTNER, STRANGER, Outside
from .space import Space

pytestmark = pytest.mark.timeout(600)
ASKED = {"bartizan.dev/egress": json.dumps([{"host": PARTNER, "tls": {"mode": "simple", "minVersion": "1.3"}}])}


@pytest.fixture
def approved(space: Space, beyond: Outside) -> Iterator[Space]:
    """Partner is approved for the account web in the space."""
    policy = {"apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": space.name}, "spec": {
        "subjects": [{"namespace": space.name, "serviceAccounts": ["web"]}],
        "hosts": [{"host": PARTNER, "caBundle": beyond.roots, "minVersion": "1.3"}]}}
    space.kubectl.apply(policy)
    yield space
    space.kubectl("delete", "egresspolicy", space.name)


def test_an_approved_host_is_reached_over_tls_that_the_sidecar_begins(approved: Space, beyond: Outside) -> None:
    approved.app("web", ASKED)
    before = len(beyond.arrived())
    answer = approved.curl("web", f"http://{PARTNER}/v1/charges")
    assert (answer.status, answer.json["tls"], answer.json["host"]) == (200, "TLSv1.3", PARTNER)
    assert {one["port"] for one in beyond.arrived()[before:]} == {443}


def test_nothing_else_gets_out(approved: Space, beyond: Outside) -> None:
    approved.apply_app("web", ASKED)
    approved.apply_app("curious")
    approved.ready("web", "curious")
    before = len(beyond.arrived())
    for who, host in (("web", STRANGER), ("curious", PARTNER)):
        assert approved.exec_in(who, "curl", "-sS", f"http://{host}/").returncode == 6       # no such name
        for address in OUTSIDE.values():
            at = f"[{address}]" if ":" in address else address
            refused = approved.curl(who, "--connect-to", f"{host}:80:{at}:80", "--resolve", f"{host}:80:{at}", f"http://{host}/")
            assert (refused.status, refused.reason) == (403, f"{Reason.HOST_NOT_APPROVED.code} {Reason.HOST_NOT_APPROVED.token}")
    assert beyond.arrived()[before:] == []


def test_a_pod_without_a_sidecar_does_reach_it(approved: Space, beyond: Outside) -> None:
    """Or the tests above would prove nothing."""
    bare = Space("default", approved.kubectl, approved.images)
    bare.app("free")
    before = len(beyond.arrived())
    for address in OUTSIDE.values():
        at = f"[{address}]" if ":" in address else address
        assert bare.curl("free", f"http://{at}/").status == 200
    assert [one["port"] for one in beyond.arrived()[before:] if one["event"] == "request"] == [80, 80]
    bare.run("delete", "deployment/free", "--wait=false")
