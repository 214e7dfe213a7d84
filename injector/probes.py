"""Probes and hooks, moved to the sidecar and back: the kubelet has no identity, so it asks the sidecar, who asks the application.

What goes by HTTP, HTTPS, TCP or gRPC to the pod itself moves, of every container that is not ours. What stays: `exec` and `sleep`,
what names another host, and hooks by `tcpSocket`, which no kubelet carries out. What moved stands in the sidecar's configuration with
all that is needed to put it back.

Trust: a pod that comes with moved probes may have been written by anybody. What its sidecar is told is read as strictly as what the
pod says itself, and only the pod's own address is asked (`sidecar/net/app_probe.py`). Attacked by tests/injector/test_probes.py.
Spec: Kubernetes, Probe v1 core, LifecycleHandler v1 core.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from sidecar.model import ports
from sidecar.model.config import HOOK_HEADER, LONGEST_PROBE_S, Probe
from sidecar.model.errors import ConfigError
from sidecar.model.value import convert

from .cluster.objects import Json, Pod, at
from .validate import Invalid, Problem

# Kinds by where they stand in a container, and the last part of the path on the health port.
_PROBES = {("readinessProbe",): "readyz", ("livenessProbe",): "livez", ("startupProbe",): "startupz"}
_HOOKS = {("lifecycle", "postStart"): "poststart", ("lifecycle", "preStop"): "prestop"}
_WAYS = {"httpGet": "", "tcpSocket": "tcp", "grpc": "grpc"}
MOST_BYTES = 65536      # of all in one pod: they stand in one variable, and the kernel takes no more than 128 KiB of it


class Move(NamedTuple):
    """One probe or hook that is asked of the sidecar.

    Args:
        place: in the container: `("lifecycle", "preStop")`.
        value: what is to stand there.
        path: on the health port.
    """

    place: tuple[str, ...]
    value: dict[str, Any]
    path: str
    probe: Probe


def moves(container: Json, known: Mapping[str, Probe], new_word: Callable[[], str]) -> Iterator[Move]:
    """What of a container goes to the sidecar, or did so before.

    Args:
        known: by path: what moved when the pod was patched before.
        new_word: makes what whoever asks for a hook has to say.

    Raises:
        Invalid: one cannot be asked.
    """
    for place, short in (_PROBES | _HOOKS).items():
        path = f"/app-health/{container.get('name')}/{short}"
        try:
            value = at(container, *place)
            former, moved = _moved(value, path, known) or _read(container, place, value, new_word)
            if moved is None:
                continue
            if place in _PROBES:
                moved = replace(moved, timeout_s=_timeout_s(value))     # which another webhook may have changed since
            if moved.port in ports.OWN:
                raise ConfigError("port", f"{moved.port} is the sidecar's; ask the application's")
        except ConfigError as exc:
            raise Invalid([Problem(f"container {container.get('name')}", f"{'.'.join(place)}: {exc}")]) from exc
        rest = {key: one for key, one in value.items() if key != former}
        yield Move(place, {"httpGet": handler(path, moved), **rest}, path, moved)


def require_room(probes: Mapping[str, Probe]) -> None:
    """Invalid, if the sidecar cannot be told of so much."""
    if (size := len(msgspec.json.encode(probes))) > MOST_BYTES:
        cause = f"its probes and hooks take {size} bytes, and the sidecar can be told {MOST_BYTES}; shorten paths and httpHeaders"
        raise Invalid([Problem("pod", cause)])


def handler(path: str, probe: Probe) -> dict[str, Any]:
    """The httpGet by which the kubelet asks the sidecar."""
    asked = {"path": path, "port": ports.HEALTH, "scheme": "HTTP"}
    return asked if probe.word is None else {**asked, "httpHeaders": [{"name": HOOK_HEADER, "value": probe.word}]}


def restored(container: Json, probes: Mapping[str, Probe]) -> dict[str, Any]:
    """The container with its own probes and hooks again, with the defaults of the API written out.

    Args:
        probes: that its sidecar was told.
    """
    found = copy.deepcopy(dict(container))
    for place, short in (_PROBES | _HOOKS).items():
        path = f"/app-health/{container.get('name')}/{short}"
        value = at(found, *place)
        if path in probes and value.get("httpGet") == handler(path, probes[path]):
            del value["httpGet"]
            value |= _former(probes[path])
    return found


def _moved(value: Json, path: str, known: Mapping[str, Probe]) -> tuple[str, Probe] | None:
    """What moved before; None: it has not, so far."""
    asked = at(value, "httpGet")
    if asked.get("port") != ports.HEALTH or asked.get("host"):
        return None
    if path not in known or asked != handler(path, known[path]):
        raise ConfigError("httpGet.port", f"{ports.HEALTH} is the sidecar's; ask the application's")
    return "httpGet", known[path]


def _read(container: Json, place: tuple[str, ...], value: Json, new_word: Callable[[], str]) -> tuple[str, Probe | None]:
    """The field by which the pod is asked over the network, and what it says; None: there is none, or it is not ours to ask."""
    how = next((how for how in (_WAYS if place in _PROBES else ("httpGet",)) if value.get(how) is not None), "")
    asked = at(value, how)
    if not how or asked.get("host"):    # what is asked of another host does not enter the pod
        return how, None
    named, scheme = asked.get("port"), asked.get("scheme") or "HTTP"
    if scheme not in ("HTTP", "HTTPS"):
        raise ConfigError(f"{how}.scheme", f"{scheme!r} is neither HTTP nor HTTPS")
    port = Pod({"spec": {"containers": [container]}}).port(named) if isinstance(named, int | str) else None
    if port is None:
        raise ConfigError(f"{how}.port", f"{named!r} is no port of the container")
    document: dict[str, Any] = {"port": port, "by": _WAYS[how] or scheme.lower(), "portName": named if isinstance(named, str) else ""}
    if how == "httpGet":
        document |= {"path": asked.get("path") or "/", "headers": asked.get("httpHeaders") or []}
    elif how == "grpc":
        document["service"] = asked.get("service") or ""
    if place in _HOOKS:     # the kubelet waits as long as the pod's grace lasts, or for ever
        document |= {"timeoutS": LONGEST_PROBE_S, "word": new_word()}
    return how, convert(document, Probe)


def _timeout_s(probe: Json) -> float:
    """As the API server has it, which turns 0 into its default."""
    value = probe.get("timeoutSeconds") or 1
    if not isinstance(value, int) or value < 0:
        raise ConfigError("timeoutSeconds", "expected a number of seconds")
    return float(min(value, LONGEST_PROBE_S))


def _former(probe: Probe) -> dict[str, Any]:
    port = probe.port_name or probe.port
    if probe.by == "tcp":
        return {"tcpSocket": {"port": port}}
    if probe.by == "grpc":
        return {"grpc": {"port": port, "service": probe.service}}
    asked = {"path": probe.path, "port": port, "scheme": probe.by.upper()}
    headers = [{"name": field.name, "value": field.value} for field in probe.headers]
    return {"httpGet": {**asked, "httpHeaders": headers} if headers else asked}
