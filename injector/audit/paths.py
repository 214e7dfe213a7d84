"""A way by which bytes entered or left a workload without mTLS: who, since when, until when, why, and what to do about it. Pure."""

import msgspec

from sidecar.model.address import canonical

from .coverage import Coverage, Gap, KnownPod
from .names import workload_of


class Path(msgspec.Struct, rename="camel"):
    """
    Args:
        source: the caller's address, or the identity of a workload that called; empty: more sources than are told apart.
        workload: who that is, as far as the cluster knows; its identity is not proved.
        security: `plaintext`, or `passthrough`: encrypted by the application perhaps, proved by nobody.
        until: Unix seconds, when the permission ends; None: there is none, or it has no end.
        cause, cure: in words.
    """

    source: str
    destination: str
    port: str
    security: str
    workload: str = ""
    connections: int = 0
    requests: int = 0
    sent: int = 0
    received: int = 0
    first: float = 0.0
    last: float = 0.0
    until: float | None = None
    cause: str = ""
    cure: str = ""


def host_and_port(text: str) -> tuple[str, str]:
    """Of `10.0.0.1:80`, `[fd00::1]:80`, `10.0.0.1` or `fd00::1`; a text that is none of these is its own host."""
    try:
        return str(canonical(text)), ""
    except ValueError:
        host, _, port = text.rpartition(":")
    try:
        return str(canonical(host.strip("[]"))), port
    except ValueError:
        return text, ""


def explain(path: Path, coverage: Coverage, now: float) -> None:
    """Fill in who called, until when that is permitted, why it happened and what ends it."""
    permission = _permission(path, coverage)
    path.until = permission.until if permission is not None else None
    callers = [pod for pod in coverage.pods if path.source in pod.addresses]
    path.workload = _names(callers)
    path.cause, path.cure = _why(path, callers, coverage)
    if permission is None and path.security == "plaintext":
        path.cause += " The destination takes no plaintext by now, or what it takes is not known here."
    elif permission is not None and permission.until is not None and permission.until <= now:
        path.cause += " The permission has ended: nothing new is let in."


def _permission(path: Path, coverage: Coverage) -> Gap | None:
    """The one that lasts longest among the destination's pods."""
    found = [
        gap for gap in coverage.gaps
        if gap.kind == "permissive" and (gap.namespace, gap.service_account) == workload_of(path.destination)
    ]
    return max(found, key=lambda gap: float("inf") if gap.until is None else gap.until, default=None)


def _names(callers: list[KnownPod]) -> str:
    if len(callers) > 3:
        return f"one of {len(callers)} pods that share the address"
    return " or ".join(f"{pod.namespace}/{pod.name}" for pod in callers)


def _why(path: Path, callers: list[KnownPod], coverage: Coverage) -> tuple[str, str]:
    """(cause, cure)"""
    if path.security == "passthrough":
        return ("The application speaks TLS of its own, which passes its sidecar unproved.",
                "Let it speak plain HTTP or TCP to its sidecar, which makes it mTLS.")
    if not path.source:
        return "There are more sources than are told apart.", "Ask for a shorter period."
    if path.source.startswith("spiffe://"):
        return "A sidecar sent plaintext, which none of ours does.", "Look at that pod: its sidecar is another than admission put there."
    for pod in callers:
        if pod.host_network:
            return ("The caller has the node's network, or is the node itself.",
                    "Remove hostNetwork from the caller, or move the caller behind a gateway.")
        if pod.has_sidecar:
            return ("The caller has a sidecar, but its packets went past it.",
                    "Restart the caller, and find out who changed its packet rules: nobody but its init container should hold NET_ADMIN.")
        gap = next((gap for gap in coverage.gaps if gap.kind == "no-sidecar" and gap.namespace == pod.namespace
                    and gap.service_account == pod.service_account), None)
        return f"The caller has no sidecar. {gap.cause if gap else ''}".strip(), gap.cure if gap else "Give it one."
    return ("No pod of the mesh is known to have this address: something outside of the cluster, a node, or a pod that is gone.",
            "Find who has the address; give it a sidecar, or let it come in by a gateway.")
