from typing import Any

import pytest

from injector.cluster.checked import checked
from injector.validate import Invalid
from sidecar.model.errors import ConfigError
from tests.injector.pods import egress_policy


def test_a_namespace_is_filled_in_where_there_must_be_one() -> None:
    assert checked({"kind": "Pod", "metadata": {"name": "p"}})["metadata"]["namespace"] == "default"
    assert checked({"kind": "Namespace", "metadata": {"name": "n", "namespace": "x"}})["metadata"]["namespace"] == ""


@pytest.mark.parametrize("bad", [
    {"kind": "Pod"}, {"metadata": {"name": "p"}}, {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": 3}},
    {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"serviceAccountName": "No Name"}},
    {"kind": "Secret", "metadata": {"name": "s"}, "data": []},
    {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"metadata": []}}}, egress_policy(hots=[]),
], ids=str)
def test_what_is_malformed_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, Invalid)):
        checked(bad)
