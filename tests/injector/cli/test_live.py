import pytest

from injector.cli.kubectl import Forbidden, Kubectl
from injector.cli.live import everything

from .conftest import Program

LISTS = """
case "$*" in
*egresspolicies*) echo "error: the server doesn't have a resource type \\"egresspolicies\\"" >&2; exit 1 ;;
*meshpolicies*) echo 'User "eve" cannot list resource "meshpolicies" in API group "bartizan.dev" at the cluster scope' >&2; exit 1 ;;
*"get namespace shop"*) echo '{"kind": "Namespace"}' ;;
*"get namespaces"*) echo '{"items": [{"kind": "Namespace"}, {"kind": "Namespace"}]}' ;;
*networkpolicies*-n*shop*|*networkpolicies*--all-namespaces*) echo '{"items": [{"kind": "NetworkPolicy"}]}' ;;
*-n*shop*|*--all-namespaces*) echo '{"items": [{"kind": "Pod"}]}' ;;
esac"""


@pytest.mark.parametrize(("namespace", "kinds"), [
    ("shop", ["Namespace", "Pod", "NetworkPolicy"]), ("", ["Namespace", "Namespace", "Pod", "NetworkPolicy"]),
])
def test_what_cannot_be_read_is_told_and_the_rest_counts(namespace: str, kinds: list[str], program: Program) -> None:
    program(LISTS)
    found, missing = everything(Kubectl(), namespace)
    assert [one["kind"] for one in found] == kinds
    assert "bartizan schema crd | kubectl apply" in missing[0]
    assert "eve may not list meshpolicies" in missing[1]


def test_without_pods_there_is_nothing_to_tell(program: Program) -> None:
    program('echo \'pods is forbidden: User "eve" cannot list resource "pods" in API group "" in the namespace "shop"\' >&2; exit 1')
    with pytest.raises(Forbidden):
        everything(Kubectl(), "shop")
