"""`bartizan.dev/egress`: what a workload asks to reach."""

from typing import Literal

from sidecar.model.value import Name, Port, Value

TlsVersion = Literal["1.2", "1.3"]

class SecretRef(Value, frozen=True):
    """A Secret of the pod's namespace that holds tls.crt and tls.key."""

    secret: Name


class TlsRequest(Value, frozen=True):
    """How the sidecar speaks TLS to the host; `mutual` presents a client certificate."""

    mode: Literal["simple", "mutual"] = "simple"
    port: Port = 443
    min_version: TlsVersion = "1.2"
    client_certificate: SecretRef | None = None


class HostPorts(Value, frozen=True):
    """`plain`: the application speaks plain HTTP and the sidecar originates TLS. `tls`: the application's own TLS passes."""

    plain: tuple[Port, ...] = (80,)
    tls: tuple[Port, ...] = (443,)


class HostRequest(Value, frozen=True):
    """Asks for a host by name."""

    host: str
    tls: TlsRequest = TlsRequest()
    ports: HostPorts = HostPorts()


class RangeRequest(Value, frozen=True):
    """Asks for addresses. No ports: every port."""

    cidr: str
    ports: tuple[Port, ...] = ()
    protocol: Literal["tcp"] = "tcp"


EgressRequest = HostRequest | RangeRequest
