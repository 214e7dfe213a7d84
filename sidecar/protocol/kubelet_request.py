"""What the kubelet sends to an application whose probe or hook goes by HTTP, so that who asks in its stead asks alike.

Spec: Kubernetes, HTTPGetAction v1 core. What that leaves open is as kubelet 1.36 has it (pkg/probe/http): it adds `user-agent`
and `accept` where the pod says none, takes `Host` from the pod's fields, and follows redirections to the very host that it asked,
ten requests in all; an answer that leads elsewhere counts as it is.
"""

import re
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from sidecar.model.address import Address
from sidecar.model.config import Probe
from sidecar.model.fields import FRAMING, HOP_BY_HOP
from sidecar.model.message import NO_BODY, Headers, RequestHead

MOST_REQUESTS = 10
PROBE_AGENT, HOOK_AGENT = b"kube-probe/1.36", b"kube-lifecycle/1.36"

_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
_SAFE = "/!$&'()*+,;=:@[]-._~"
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Asked(NamedTuple):
    """One request.

    Args:
        authority: host and port of its URL.
        host: what Host says.
    """

    is_tls: bool
    port: int
    authority: bytes
    host: bytes
    head: RequestHead


def first(probe: Probe, address: str) -> Asked:
    """What a probe by `http` or `https` begins with.

    Args:
        address: of the pod.
    """
    said = [(field.name.lower().encode(), field.value.strip(" \t").encode()) for field in probe.headers]

    def value(name: bytes) -> bytes | None:
        return next((value for key, value in said if key == name), None)

    agent = value(b"user-agent")
    fields = [(b"user-agent", (HOOK_AGENT if probe.is_hook else PROBE_AGENT) if agent is None else agent)] if agent != b"" else []
    if value(b"accept") is None:
        fields.append((b"accept", b"*/*"))
    # What each connection says for itself is not the pod's to say; an empty `accept` means none.
    kept = [field for field in said if field[0] not in FRAMING | HOP_BY_HOP | {b"user-agent"}
            and not (field[0] == b"accept" and value(b"accept") == b"")]
    authority = str(Address(address, probe.port)).encode()
    return _asked(probe.by == "https", probe.port, authority, value(b"host") or authority, _target(probe.path), fields + kept)


def follow(asked: Asked, status: int, headers: Headers, address: str) -> Asked | None:
    """Where an answer leads, if that is to be asked; None: the answer counts. ValueError: it leads nowhere."""
    location = next((value.decode("latin-1") for name, value in headers if name.lower() == b"location"), "")
    if status not in _REDIRECTIONS or not location:
        return None
    base = f"{'https' if asked.is_tls else 'http'}://{asked.authority.decode()}{asked.head.target.decode()}"
    url = urlsplit(urljoin(base, location))
    if url.hostname != address.lower():
        return None
    if url.scheme not in ("http", "https"):
        raise ValueError(f"a redirection to {url.scheme[:40]!r}")
    is_tls = url.scheme == "https"
    port = url.port or (443 if is_tls else 80)
    authority = url.netloc.rpartition("@")[2].encode()
    keeps_host = asked.host != asked.authority and not urlsplit(location).scheme     # a host of the pod's own, and a relative URL
    target = url.path + (f"?{url.query}" if url.query else "")
    return _asked(is_tls, port, authority, asked.host if keeps_host else authority, _target(target), asked.head.headers)


def _asked(is_tls: bool, port: int, authority: bytes, host: bytes, target: bytes, fields: Headers) -> Asked:
    return Asked(is_tls, port, authority, host, RequestHead(b"GET", target, host, None, fields, NO_BODY, True))


def _target(path: str) -> bytes:
    """A path with query, as anybody may have written it; one whose escapes are broken is all path."""
    if _BROKEN_ESCAPE.search(path):
        text = quote(path, _SAFE)
    else:
        text = quote(path.partition("#")[0], _SAFE + "%?")
    return (text if text.startswith("/") else f"/{text}").encode()
