import pytest

from injector.compile.edge_backends import backend_of
from injector.compile.looked import Looked
from sidecar.model.service import Backend

from .edge_objects import cluster_of, service

LOOK = Looked(cluster_of(service("web"), service("outside", type="ExternalName", selector=None)))


@pytest.mark.parametrize(("port", "number"), [(80, 80), ("http", 80), (8080, 8080)])
def test_a_port_is_meant_by_number_or_name(port: object, number: int) -> None:
    assert backend_of("web", port, "shop", LOOK) == (Backend("web.shop", number), "")


@pytest.mark.parametrize(("name", "port", "expected", "problem"), [
    ("web", 81, 81, "the Service web has no TCP port '81' (ports: 80 (http), 8080)"),
    ("web", "grpc", None, "the Service web has no TCP port 'grpc' (ports: 80 (http), 8080)"),
    ("outside", 80, 80, "the Service outside selects no pods, so there is none of the mesh behind it"),
    ("gone", 80, 80, "there is no Service gone in namespace shop"),
    ("gone", "http", None, "there is no Service gone in namespace shop"),
])
def test_what_is_not_there_is_told_and_a_number_is_kept_for_when_it_is(name: str, port: object, expected: int | None, problem: str) -> None:
    assert backend_of(name, port, "shop", LOOK) == (Backend(f"{name}.shop", expected) if expected is not None else None, problem)


def test_it_is_never_a_service_of_another_namespace() -> None:
    backend, problem = backend_of("web.other", 80, "shop", LOOK)
    assert backend is None
    assert "plain name" in problem
