import pytest

from injector.documents import HostRequest, MeshPolicySpec, Mtls, RangeRequest, RouteRule
from injector.semantics import egress_problems, host_problems, mesh_policy_problems, network_problems, route_problems
from sidecar.model.route import Match, PathMatch


@pytest.mark.parametrize(
    "host", ["a.example.com", "*.example.com", "*.a.example.com", "localhost", "_x.example.com", "xn--a.example.com"],
)
def test_host_names(host: str) -> None:
    assert list(host_problems("host", host)) == []
    assert list(egress_problems(HostRequest(host))) == []


@pytest.mark.parametrize(
    "host",
    ["", "*", "**.example.com", "*example.com", "a.*.com", "a..b", "-a.example.com", "a b", "::1", "10.0.0.1", "a:80",
     "a" * 64 + ".b.c", "é.com"],
)
def test_what_is_no_host_name(host: str) -> None:
    assert [path for path, _ in host_problems("host", host)] == ["host"]


@pytest.mark.parametrize(
    ("text", "is_good"), [("10.0.0.0/8", True), ("::/0", True), ("10.0.0.1", True), ("10.0.0.1/8", False), ("x", False)],
)
def test_networks(text: str, is_good: bool) -> None:
    assert (list(network_problems("cidr", text)) == []) is is_good
    assert (list(egress_problems(RangeRequest(text))) == []) is is_good


@pytest.mark.parametrize(("path", "is_good"), [
    ("/", True), ("/a/b-c_d.e~f", True), ("/a/", True), ("/a//b", False), ("/./a", False), ("/a/..", False),
    ("/%41", False), ("/a#b", False), ("/a b", False),
])
def test_paths_are_those_that_a_request_can_have(path: str, is_good: bool) -> None:
    rule = RouteRule("r", (), matches=(Match(PathMatch(path)),))
    assert (list(route_problems(rule)) == []) is is_good


@pytest.mark.parametrize(("text", "is_good"), [
    ("10.96.0.10", True), ("10.96.0.10:53", True), ("fd00::10", True), ("[fd00::10]:53", True),
    ("[fd00::10]", False), ("10.96.0.10:0", False),
    ("10.96.0.10:65536", False), ("10.96.0.10:", False), ("dns", False), ("FD00::10", False), ("fd00::10%eth0", False),
])
def test_resolvers(text: str, is_good: bool) -> None:
    assert (list(mesh_policy_problems(MeshPolicySpec(resolvers=(text,)))) == []) is is_good


def test_strict_needs_no_date() -> None:
    assert list(mesh_policy_problems(MeshPolicySpec(mtls=Mtls("strict")))) == []
