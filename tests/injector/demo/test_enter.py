import pytest

from injector.demo.enter import prefix_of
from injector.demo.errors import DemoError

PODS = [{"pod": "web-abcde", "generateName": "web-", "containers": {"web": ["enter", "web"], "bartizan-sidecar": ["enter", "sidecar"]}}]


@pytest.mark.parametrize(("name", "container", "prefix"), [
    ("web", "", ["enter", "web"]), ("web-abcde", "", ["enter", "web"]), ("web", "bartizan-sidecar", ["enter", "sidecar"]),
])
def test_by_pod_or_workload_and_the_application_by_default(name: str, container: str, prefix: list[str]) -> None:
    assert prefix_of(PODS, name, container) == prefix


@pytest.mark.parametrize(("name", "container", "message"), [
    ("wbe", "", "no pod is called 'wbe'; there are: web-abcde"), ("web", "x", "no container 'x' .* there are: web, bartizan-sidecar"),
])
def test_what_is_not_there_is_said_with_what_is(name: str, container: str, message: str) -> None:
    with pytest.raises(DemoError, match=message):
        prefix_of(PODS, name, container)
