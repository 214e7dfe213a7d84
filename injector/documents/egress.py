"""`bartizan.dev/egress`: what a workload asks to reach."""

from typing import Literal

from sidecar.model.egress import StartTls
from sidecar.model.value import Name, Port, Value

TlsVersion = Literal["1.2", "1.3"]
EgressProtocol = Literal["http", "tls", "tcp"]


class SecretRef(Value, frozen=True):
    """A Secret of the pod's namespace that holds tls.crt and tls.key."""

    secret: Name


class TlsRequest(Value, frozen=True):
    """How the sidecar speaks TLS to the host.

    Args:
        mode: `mutual` presents a client certificate; `none` leaves plain HTTP and TCP as the application speaks them.
        port: where the host listens for TLS, of protocol `http`.
        start_tls: of protocol `tcp`: TLS is asked for in the words of this protocol; left out, it begins with the first byte.
    """

    mode: Literal["simple", "mutual", "none"] = "simple"
    port: Port = 443
    min_version: TlsVersion = "1.2"
    client_certificate: SecretRef | None = None
    start_tls: StartTls | None = None


class HostPorts(Value, frozen=True):
    """`plain`: the application speaks plain HTTP and the sidecar originates TLS. `tls`: the application's own TLS passes. `tcp`: it
    connects to the name and speaks whatever it does.
    """

    plain: tuple[Port, ...] = (80,)
    tls: tuple[Port, ...] = (443,)
    tcp: tuple[Port, ...] = ()


class HostRequest(Value, frozen=True):
    """Asks for a host by name.

    Args:
        protocol: `http` for plain HTTP and for the application's own TLS, `tls` for the latter alone, `tcp` for everything else.
    """

    host: str
    tls: TlsRequest = TlsRequest()
    ports: HostPorts = HostPorts()
    protocol: EgressProtocol = "http"


class RangeRequest(Value, frozen=True):
    """Asks for addresses. No ports: every port."""

    cidr: str
    ports: tuple[Port, ...] = ()
    protocol: Literal["tcp"] = "tcp"


EgressRequest = HostRequest | RangeRequest
