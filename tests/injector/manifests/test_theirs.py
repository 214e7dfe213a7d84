"""That each demand stands; that it holds, pod by pod, is for tests/e2e/kubernetes/test_backstop.py to say."""

from injector.hardening import FORBIDDEN_CAPABILITIES, FORBIDDEN_HOST_PATHS
from injector.manifests.theirs import Validation, absence_demands, containers_demands, pod_demands


def test_everything_that_hardening_forbids_is_named() -> None:
    containers = " ".join(one.demand for one in containers_demands("others"))
    pod = " ".join(one.demand for one in pod_demands())
    assert all(f'"{name}"' in containers and f'"CAP_{name}"' in containers for name in FORBIDDEN_CAPABILITIES)
    assert all(f'"{path}/"' in pod for path in FORBIDDEN_HOST_PATHS)
    assert '"/var/run/containerd/"' in pod
    assert all(f"?{field}." in pod for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"))


def test_a_demand_may_have_its_condition() -> None:
    assert Validation("a", "'b'").unless("variables.isOut") == Validation("variables.isOut || (a)", "'b'")
    assert Validation("a", "'b'").manifest == {"expression": "a", "messageExpression": "'b'", "reason": "Forbidden"}


def test_the_message_names_the_container() -> None:
    assert all(".filter(one, " in one.message and "[0].name" in one.message for one in containers_demands("debugging"))
    assert len(absence_demands()) == 2
