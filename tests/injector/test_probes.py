"""Probes and hooks as they stand in pods, what the sidecar is told of them, and back."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from injector.probes import MOST_BYTES, handler, moves, require_room, restored
from injector.validate import Invalid
from sidecar.model import ports
from sidecar.model.config import Probe, ProbeHeader

WORD = "0123456789abcdef" * 2
PORTS = [{"containerPort": 9999}, {"name": "web", "containerPort": 8080}]
OURS = {"path": "/app-health/app/livez", "port": 15021, "scheme": "HTTP"}


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "app", "ports": PORTS, **fields}


def no_word() -> str:
    raise AssertionError("no hook is new")


def moved(found: Mapping[str, Any], known: Mapping[str, Probe] | None = None) -> tuple[dict[str, Any], dict[str, Probe]]:
    """The container as it becomes, and what its sidecar is told."""
    made, probes = copy.deepcopy(dict(found)), {}
    for move in moves(found, known or {}, (lambda: WORD) if known is None else no_word):
        parent = made
        for step in move.place[:-1]:
            parent = parent[step]
        parent[move.place[-1]] = move.value
        probes[move.path] = move.probe
    return made, probes


FORMS: list[tuple[dict[str, Any], Probe]] = [
    ({"httpGet": {"port": "web", "path": "/ready?x", "scheme": "HTTP"}}, Probe(8080, "http", "/ready?x", port_name="web")),
    ({"httpGet": {"port": 8081, "path": "/", "scheme": "HTTP"}}, Probe(8081, "http")),
    ({"httpGet": {"port": 8443, "path": "/x", "scheme": "HTTPS"}}, Probe(8443, "https", "/x")),
    ({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP", "httpHeaders": [{"name": "Host", "value": "a"}, {"name": "X", "value": ""}]}},
     Probe(80, "http", headers=(ProbeHeader("Host", "a"), ProbeHeader("X", "")))),
    ({"tcpSocket": {"port": 5432}}, Probe(5432)),
    ({"tcpSocket": {"port": "web"}}, Probe(8080, port_name="web")),
    ({"grpc": {"port": 9090, "service": ""}}, Probe(9090, "grpc")),
    ({"grpc": {"port": 9090, "service": "shop.Orders"}}, Probe(9090, "grpc", service="shop.Orders")),
]
KINDS = [("readinessProbe", "readyz"), ("livenessProbe", "livez"), ("startupProbe", "startupz")]


@pytest.mark.parametrize(("kind", "short"), KINDS)
@pytest.mark.parametrize(("form", "probe"), FORMS)
def test_probes_move_and_come_back(kind: str, short: str, form: dict[str, Any], probe: Probe) -> None:
    before = container(**{kind: {**form, "periodSeconds": 7, "terminationGracePeriodSeconds": 5}})
    after, told = moved(before)
    path = f"/app-health/app/{short}"
    assert after == container(**{kind: {"httpGet": {**OURS, "path": path}, "periodSeconds": 7, "terminationGracePeriodSeconds": 5}})
    assert told == {path: probe}
    assert restored(after, told) == before


@pytest.mark.parametrize(("kind", "short"), [("postStart", "poststart"), ("preStop", "prestop")])
def test_hooks_move_and_come_back(kind: str, short: str) -> None:
    asked = {"httpGet": {"port": "web", "path": "/quit", "scheme": "HTTPS", "httpHeaders": [{"name": "X", "value": "1"}]}}
    before = container(lifecycle={kind: asked, "stopSignal": "SIGUSR1"})
    after, told = moved(before)
    path = f"/app-health/app/{short}"
    ours = {**OURS, "path": path, "httpHeaders": [{"name": "bartizan-hook", "value": WORD}]}
    assert after == container(lifecycle={kind: {"httpGet": ours}, "stopSignal": "SIGUSR1"})
    assert told == {path: Probe(8080, "https", "/quit", (ProbeHeader("X", "1"),), timeout_s=3600, port_name="web", word=WORD)}
    assert restored(after, told) == before


def test_every_way_to_ask_one_container() -> None:
    before = container(
        readinessProbe={"grpc": {"port": 1, "service": ""}}, livenessProbe={"tcpSocket": {"port": 2}},
        startupProbe={"httpGet": {"port": 3, "path": "/", "scheme": "HTTP"}},
        lifecycle={kind: {"httpGet": {"port": 4, "path": f"/{kind}", "scheme": "HTTP"}} for kind in ("postStart", "preStop")})
    after, told = moved(before)
    assert [path.rpartition("/")[2] for path in told] == ["readyz", "livez", "startupz", "poststart", "prestop"]
    assert moved(after, told) == (after, told)      # nothing moves twice, and no hook gets another word
    assert restored(after, told) == before


@pytest.mark.parametrize("before", [
    container(livenessProbe={"exec": {"command": ["x"]}}),
    container(livenessProbe={"httpGet": {"host": "other", "port": 15021}}),
    container(livenessProbe={"tcpSocket": {"host": "other", "port": "nowhere"}}),
    container(livenessProbe={"periodSeconds": 1}),
    container(lifecycle={"preStop": {"exec": {"command": ["x"]}}, "postStart": {"sleep": {"seconds": 1}}}),
    container(lifecycle={"preStop": {"tcpSocket": {"port": 1}}}),       # no kubelet carries it out
    container(lifecycle={"preStop": {"httpGet": {"host": "127.0.0.1", "port": 1}}}),
    container(lifecycle=None, livenessProbe=None),
])
def test_what_is_not_ours_to_ask_stays(before: dict[str, Any]) -> None:
    assert moved(before) == (before, {})
    assert restored(before, {}) == before


def test_defaults_are_the_apis() -> None:
    _, told = moved(container(livenessProbe={"httpGet": {"port": 1, "path": "", "host": "", "scheme": None, "httpHeaders": None},
                                             "timeoutSeconds": 0}))
    assert list(told.values()) == [Probe(1, "http", "/", timeout_s=1)]


@pytest.mark.parametrize(("given", "taken"), [(None, 1), (0, 1), (5, 5), (3600, 3600), (1 << 30, 3600)])
def test_the_timeout_is_the_probes_own(given: int | None, taken: float) -> None:
    _, told = moved(container(livenessProbe={"tcpSocket": {"port": 1}, "timeoutSeconds": given}))
    assert [probe.timeout_s for probe in told.values()] == [taken]


def test_a_timeout_that_another_webhook_has_changed_since_counts() -> None:
    after, told = moved(container(livenessProbe={"tcpSocket": {"port": 1}}))
    after["livenessProbe"]["timeoutSeconds"] = 9
    assert moved(after, told) == (after, {OURS["path"]: Probe(1, timeout_s=9)})


def test_another_way_to_ask_beside_is_left_to_the_api_server_which_refuses_it() -> None:
    after, _ = moved(container(livenessProbe={"httpGet": {"port": 1}, "tcpSocket": {"port": 2}}))
    assert after["livenessProbe"] == {"httpGet": OURS, "tcpSocket": {"port": 2}}


@pytest.mark.parametrize(("probe", "cause"), [
    ({"httpGet": {"port": "nowhere"}}, "livenessProbe: httpGet.port: 'nowhere' is no port of the container"),
    ({"httpGet": {"path": "/"}}, "httpGet.port: None is no port of the container"),
    ({"tcpSocket": {"port": 0}}, "tcpSocket.port: 0 is no port"),
    ({"tcpSocket": {"port": True}}, "tcpSocket.port: True is no port"),
    ({"grpc": {"port": 70000}}, "grpc.port: 70000 is no port"),
    ({"httpGet": {"port": 1, "scheme": "tcp"}}, "httpGet.scheme: 'tcp' is neither HTTP nor HTTPS"),
    ({"httpGet": {"port": 1, "path": 5}}, "path: Expected `str`"),
    ({"httpGet": {"port": 1, "path": "/" + "x" * 8192}}, "path: Expected `str` of length"),
    ({"httpGet": {"port": 1, "httpHeaders": [{"name": "X", "value": "1\r\nY: 2"}]}}, "headers[0].value"),
    ({"httpGet": {"port": 1, "httpHeaders": [{"name": "X", "value": "1\n"}]}}, "headers[0].value"),
    ({"httpGet": {"port": 1, "httpHeaders": [{"name": "X Y", "value": "1"}]}}, "headers[0].name"),
    ({"httpGet": {"port": 1, "httpHeaders": [{"name": "X", "value": "1"}] * 65}}, "headers: Expected `array` of length"),
    ({"httpGet": {"port": 1, "httpHeaders": {"X": "1"}}}, "headers: Expected `array`"),
    ({"grpc": {"port": 1, "service": "x" * 1025}}, "service"),
    ({"tcpSocket": {"port": 1}, "timeoutSeconds": "1"}, "timeoutSeconds: expected a number of seconds"),
    ({"tcpSocket": {"port": 1}, "timeoutSeconds": -1}, "timeoutSeconds: expected a number of seconds"),
    ({"tcpSocket": []}, "tcpSocket: expected an object"),
    *(({how: {"port": port}}, f"{port} is the sidecar's; ask the application's") for port in sorted(ports.OWN)
      for how in ("httpGet", "tcpSocket", "grpc")),
])
def test_what_cannot_be_asked_is_refused(probe: dict[str, Any], cause: str) -> None:
    with pytest.raises(Invalid) as caught:
        moved(container(livenessProbe=probe))
    (problem,) = caught.value.problems
    assert problem.source == "container app"
    assert cause in problem.text


@pytest.mark.parametrize(("asked", "known"), [
    (OURS, {}),
    ({**OURS, "path": "/healthz/live"}, {OURS["path"]: Probe(1)}),
    ({**OURS, "path": "/app-health/other/livez"}, {"/app-health/other/livez": Probe(1)}),
    ({**OURS, "scheme": "HTTPS"}, {OURS["path"]: Probe(1)}),
    ({**OURS, "httpHeaders": [{"name": "bartizan-hook", "value": WORD}]}, {OURS["path"]: Probe(1)}),
    (OURS, {OURS["path"]: Probe(15020)}),       # written by hand, into a sidecar that is ours otherwise
    (OURS, {OURS["path"]: Probe(1, word=WORD)}),
])
def test_a_pod_that_only_pretends_to_have_been_patched_is_refused(asked: dict[str, Any], known: dict[str, Probe]) -> None:
    with pytest.raises(Invalid, match="is the sidecar's"):
        moved(container(livenessProbe={"httpGet": asked}), known)


def test_what_was_changed_since_is_not_put_back() -> None:
    told = {OURS["path"]: Probe(1)}
    changed = container(livenessProbe={"httpGet": {**OURS, "path": "/other"}})
    assert restored(changed, told) == changed


def test_the_handler_of_a_hook_says_its_word() -> None:
    assert handler("/app-health/app/prestop", Probe(1, "http", word=WORD)) == {
        **OURS, "path": "/app-health/app/prestop", "httpHeaders": [{"name": "bartizan-hook", "value": WORD}]}


def test_more_than_the_sidecar_can_be_told_is_refused() -> None:
    """The kernel takes no longer variable, and the sidecar would never start."""
    one = Probe(1, "http", "/" + "x" * 8000)
    require_room({str(number): one for number in range(8)})
    with pytest.raises(Invalid, match=f"can be told {MOST_BYTES}"):
        require_room({str(number): one for number in range(9)})
