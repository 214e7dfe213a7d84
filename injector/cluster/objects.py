"""Kubernetes objects as they stand in JSON, with light typed views: only the fields that we read, nothing copied.

Trust: the dicts come from the API server or from a file that anybody wrote; a field of the wrong type is a ConfigError.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeGuard

from injector.settings import GATEWAY, SYSTEM
from sidecar.model.address import canonical
from sidecar.model.errors import ConfigError

Json = Mapping[str, Any]

INTERCEPTION = "bartizan-interception"
SIDECAR = "bartizan-sidecar"
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"), "StatefulSet": ("spec", "template"), "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"), "Job": ("spec", "template"), "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


def mapping(value: object, where: str) -> dict[str, Any]:
    """A JSON object; null and absent are the empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(where, "expected an object")
    return value


def objects(value: object, where: str) -> list[dict[str, Any]]:
    """A list of JSON objects; null and absent are the empty one."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError(where, "expected a list of objects")
    return value


def text(value: object, where: str) -> str:
    """Text; null and absent are empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(where, "expected text")
    return value


def texts(value: object, where: str) -> list[str]:
    """A list of texts; null and absent are the empty one."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(where, "expected a list of texts")
    return value


def at(data: Json, *path: str) -> dict[str, Any]:
    """The object at `path`; empty if it is not there."""
    found = mapping(data, "")
    for i, key in enumerate(path):
        inner = found.get(key)      # nearly always an object: the compiler comes here hundreds of times for a snapshot
        found = inner if type(inner) is dict else mapping(inner, ".".join(path[:i + 1]))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """Any object."""

    data: Json

    @property
    def kind(self) -> str:
        return text(self.data.get("kind"), "kind")

    @property
    def metadata(self) -> Json:
        return at(self.data, "metadata")

    @property
    def spec(self) -> Json:
        return at(self.data, "spec")

    @property
    def name(self) -> str:
        return text(self.metadata.get("name"), "metadata.name")

    @property
    def namespace(self) -> str:
        return text(self.metadata.get("namespace"), "metadata.namespace")

    @property
    def uid(self) -> str:
        return text(self.metadata.get("uid"), "metadata.uid")

    @property
    def created(self) -> str:
        """When, as RFC 3339 says it, so that the smaller text is older; empty in a directory."""
        found = self.metadata.get("creationTimestamp")
        return found if isinstance(found, str) else ""

    @property
    def labels(self) -> Json:
        return at(self.data, "metadata", "labels")

    @property
    def annotations(self) -> Json:
        return at(self.data, "metadata", "annotations")

    @property
    def owner(self) -> tuple[str, str] | None:
        """(kind, name) of the controller."""
        for reference in objects(self.metadata.get("ownerReferences"), "metadata.ownerReferences"):
            if reference.get("controller") is True:
                return text(reference.get("kind"), "ownerReferences.kind"), text(reference.get("name"), "ownerReferences.name")
        return None

    @property
    def template(self) -> "Pod | None":
        """The pod template of a workload."""
        path = TEMPLATES.get(self.kind)
        return Pod(at(self.data, *path)) if path else None

    @property
    def pod(self) -> "Pod":
        """Of a pod itself, of a workload the template."""
        return self.template or Pod(self.data)


class Pod(Object):
    """A pod, or a pod template."""

    @property
    def containers(self) -> list[dict[str, Any]]:
        return objects(self.spec.get("containers"), "spec.containers")

    @property
    def init_containers(self) -> list[dict[str, Any]]:
        return objects(self.spec.get("initContainers"), "spec.initContainers")

    @property
    def ephemeral_containers(self) -> list[dict[str, Any]]:
        return objects(self.spec.get("ephemeralContainers"), "spec.ephemeralContainers")

    @property
    def volumes(self) -> list[dict[str, Any]]:
        return objects(self.spec.get("volumes"), "spec.volumes")

    @property
    def service_account(self) -> str:
        return text(self.spec.get("serviceAccountName"), "spec.serviceAccountName") or "default"

    @property
    def has_sidecar(self) -> bool:
        """By name. In the node's network there is none of ours: the pod's addresses are those of whoever else is there."""
        return self.sidecar is not None and self.spec.get("hostNetwork") is not True

    @property
    def is_ingress_gateway(self) -> bool:
        """By its account, which nobody can use who may not make pods in the control plane's namespace. It has no sidecar beside it."""
        return self.namespace == SYSTEM and self.service_account == GATEWAY and self.spec.get("hostNetwork") is not True

    @property
    def is_meshed(self) -> bool:
        """Whether a process of ours speaks for it: it has an identity, a snapshot, and evidence."""
        return self.has_sidecar or self.is_ingress_gateway

    @property
    def proxy(self) -> dict[str, Any] | None:
        """The container of that process."""
        return self.sidecar or (self.containers[0] if self.is_ingress_gateway and self.containers else None)

    @property
    def sidecar(self) -> dict[str, Any] | None:
        """In either form: among the init containers, or the older one, among the others."""
        return next((one for one in (*self.init_containers, *self.containers) if one.get("name") == SIDECAR), None)

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Of the running pod, canonical; none once it has ended. Read once: every snapshot of the namespace asks."""
        status = at(self.data, "status")
        if self.has_ended:
            return ()
        found = [item.get("ip") for item in objects(status.get("podIPs"), "status.podIPs")] or [status.get("podIP")]
        return tuple(addresses([ip for ip in found if ip], "status.podIPs"))

    @property
    def has_ended(self) -> bool:
        return at(self.data, "status").get("phase") in ("Succeeded", "Failed")

    @property
    def ends_at(self) -> float:
        """Unix seconds: when the grace of a pod that is being deleted is over, which is what `deletionTimestamp` says."""
        written = text(self.metadata.get("deletionTimestamp"), "metadata.deletionTimestamp")
        if not written:
            return math.inf
        try:
            ends = datetime.fromisoformat(written)
        except ValueError as exc:
            raise ConfigError("metadata.deletionTimestamp", f"{written[:100]!r} is no time") from exc
        return ends.replace(tzinfo=ends.tzinfo or UTC).timestamp()

    @property
    def is_ready(self) -> bool:
        """Running, and no condition says that it is not ready."""
        status = at(self.data, "status")
        return status.get("phase") == "Running" and not any(
            condition.get("type") == "Ready" and condition.get("status") == "False"
            for condition in objects(status.get("conditions"), "status.conditions")
        )

    @property
    def tcp_ports(self) -> set[int]:
        """Those that its containers declare."""
        ports = (port for container in self.containers for port in objects(container.get("ports"), "ports"))
        return {number for port in ports if port.get("protocol", "TCP") == "TCP" and is_port(number := port.get("containerPort"))}

    def port(self, target: object) -> int | None:
        """The number of a port that is given by number or by name."""
        if isinstance(target, int):
            return target if is_port(target) else None
        for container in (*self.containers, *self.init_containers):
            for port in objects(container.get("ports"), "ports"):
                if port.get("name") == target and port.get("protocol", "TCP") == "TCP":
                    return number if is_port(number := port.get("containerPort")) else None
        return None


def is_port(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def addresses(values: object, where: str) -> list[str]:
    """IP addresses in canonical text; those that are none, such as `None` of a headless Service, are left out."""
    if not isinstance(values, list):
        return []
    found = []
    for value in values:
        try:
            found.append(str(canonical(text(value, where))))
        except ValueError:
            continue
    return found


def selects(selector: Json, labels: Json) -> bool:
    """Whether all of `selector` stand among `labels`."""
    return all(labels.get(key) == value for key, value in selector.items())
