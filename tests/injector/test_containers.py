import re

import pytest

from injector.cluster.objects import Pod
from injector.containers import UIDS, interception, probes_of, proxy_uid, sidecar
from injector.settings import Settings
from sidecar.model.config import Probe, parse_config
from sidecar.model.passage import NOTHING, Passage

from .pods import pod


def _expand(text: str, variables: dict[str, str]) -> str:
    """As the kubelet does: $$ is $, $(NAME) the value of a variable that exists, anything else itself."""
    def one(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])
    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


def _config(container: dict[str, object]) -> str:
    env = container["env"]
    assert isinstance(env, list)
    return next(one["value"] for one in env if one["name"] == "BARTIZAN_CONFIG")


@pytest.mark.parametrize("path", ["/a", "/$(BARTIZAN_POD_UID)", "/$(HOME)", "/$$(HOME)", "/$", "/$$$(X)", '/"podUid":"@"'])
def test_the_kubelet_fills_in_the_uid_and_nothing_else(path: str) -> None:
    container = sidecar(Settings(), 50001, {"/app-health/app/readyz": Probe(8080, "http", path)})
    config = parse_config(_expand(_config(container), {"BARTIZAN_POD_UID": "uid-1", "HOME": "/root", "X": "x"}).encode())
    assert config.pod_uid == "uid-1"
    assert config.probes["/app-health/app/readyz"].path == path
    assert probes_of(container) == config.probes


def test_a_container_that_is_not_ours_has_no_probes() -> None:
    assert probes_of({"env": [{"name": "BARTIZAN_CONFIG", "value": "{}"}]}) == {}
    assert probes_of({}) == {}


def test_the_uid_depends_on_the_name_and_is_read_back() -> None:
    uid = proxy_uid(Pod(pod()), "shop")
    assert uid in UIDS
    assert uid == proxy_uid(Pod(pod()), "shop")
    assert uid != proxy_uid(Pod(pod()), "other")
    given = pod(initContainers=[{"name": "bartizan-sidecar", "securityContext": {"runAsUser": 50007}}])
    assert proxy_uid(Pod(given), "shop") == 50007
    given["spec"]["initContainers"][0]["securityContext"]["runAsUser"] = 0
    assert proxy_uid(Pod(given), "shop") == uid


def test_the_exemption_goes_by_uid() -> None:
    assert interception(Settings(), 50001, NOTHING)["args"] == ["intercept", "--exempt-uid", "50001"]
    security = sidecar(Settings(), 50001, {})["securityContext"]
    assert (security["runAsUser"], security["capabilities"]) == (50001, {"drop": ["ALL"]})
    assert security["runAsNonRoot"] is True


def test_or_by_mark() -> None:
    settings = Settings(bypass="mark")
    assert interception(settings, 50001, NOTHING)["args"] == ["intercept", "--exempt-mark", "1337"]
    container = sidecar(settings, 50001, {})
    assert "runAsUser" not in container["securityContext"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert '"bypassMark":1337' in _config(container)


def test_what_passes_the_sidecar_by_is_told_the_interception() -> None:
    passing = Passage(inbound_ports=(9100,))
    assert interception(Settings(), 50001, passing)["args"] == ["intercept", "--exempt-uid", "50001", "--exclude-inbound", "9100"]


def test_raw_sockets_only_where_legacy_tables_need_them() -> None:
    assert interception(Settings(), 50001, NOTHING)["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
    assert interception(Settings(net_raw=True), 50001, NOTHING)["securityContext"]["capabilities"]["add"] == ["NET_ADMIN", "NET_RAW"]
