"""TLS with clients at the edge: which certificate for which server name, and who the client is.

    served = hosts.follow(edge).find(443, "www.example.com")    # None: nobody's
    stream = TlsStream(served.context(), sock, is_server=True)
    await stream.handshake(ClientTlsRejected);  certificate = served.client_certificate(stream, "www.example.com")

The name is read from the hello before OpenSSL sees it (`net/peek.py`), and the connection is made of the right context from the start.
OpenSSL's own callback would come when the connection has one already: changing that then changes the certificate, and neither whether
a client certificate is demanded nor the least version. To read a hello costs 20 us, and a handshake 1 ms (measured).

A context is built with its first handshake, so that ten thousand hosts load fast; one Secret is one context, however many name it.

Trust: the server name is a stranger's. It chooses among the certificates of the snapshot; what it names nobody gets, not even shown
another one. Attacked by tests/net/test_tls_edge.py. Spec: RFC 6066 s3, RFC 8446 s4.1.2.
"""

from collections.abc import Iterable, Iterator

from sidecar.model.client import ClientCertificate
from sidecar.model.edge import ClientCertificates, Edge, TlsHost
from sidecar.model.errors import ClientTlsRejected, ConfigError, Unavailable
from sidecar.model.reason import Reason

from .tls_context import Context, edge_server
from .tls_stream import TlsStream
from .verify import UNREADABLE, read_client_certificate

# A whole alert record, in the clear: before a hello was answered there is nothing else to say it in (RFC 8446 s6).
UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
INTERNAL_ERROR = b"\x15\x03\x03\x00\x02\x02\x50"

Material = tuple[str | None, str | None, ClientCertificates | None, str]


class Served:
    """One certificate, and how TLS is spoken by who shows it.

    Args:
        name: of its Secret.
    """

    __slots__ = ("_context", "_why_not", "clients", "material", "min_version", "name")

    def __init__(self, name: str, material: Material) -> None:
        self.name = name
        self.material = material
        self.clients, self.min_version = material[2], material[3]
        self._context: Context | None = None
        self._why_not = ""

    def context(self) -> Context:
        """Unavailable if the material is missing or unusable."""
        if self._context is None and not self._why_not:
            self._build()
        if self._context is None:
            raise Unavailable(Reason.CERTIFICATE_UNUSABLE, f"the Secret {self.name}: {self._why_not}")
        return self._context

    def _build(self) -> None:
        chain, key, clients, min_version = self.material
        if chain is None or key is None:
            self._why_not = "it is missing, or has no tls.crt and tls.key"
            return
        try:
            self._context = edge_server(chain=chain, key=key, min_version=min_version, clients=clients)
        except ConfigError as exc:
            self._why_not = str(exc)

    def asks_as(self, other: "Served | None") -> bool:
        """Whether who was let in here has shown all that the other would have asked for."""
        return other is self or (other is not None and (other.clients, other.min_version) == (self.clients, self.min_version))

    def client_certificate(self, stream: TlsStream, server_name: str | None) -> ClientCertificate | None:
        """What the client has proved, right after the handshake; ClientTlsRejected if it cannot be read.

        Args:
            server_name: by which this was chosen.
        """
        # A second hello, or a reader that reads otherwise than ours: what was chosen would not be what was asked for.
        asked = stream.connection.get_servername()
        if asked is not None and asked.lower() != (server_name or "").encode():
            raise ClientTlsRejected("the server name of the handshake is not that of its first hello")
        if self.clients is None:
            return None
        try:
            certificate = stream.connection.get_peer_certificate(as_cryptography=True)
            return None if certificate is None else read_client_certificate(certificate, self.clients.name)
        except UNREADABLE as exc:
            raise ClientTlsRejected(f"the client's certificate cannot be read: {exc}") from exc


class _Names:
    """The hosts of one listener. Exact before one label, that before more, the narrowest of these first, then the host-less one."""

    def __init__(self, hosts: Iterable[tuple[TlsHost, Served]]) -> None:
        self._exact: dict[str, Served] = {}
        self._wild: dict[str, Served] = {}      # by what stands behind the first label
        self._deep: dict[str, Served] = {}      # behind one label or more
        self._any: Served | None = None
        for host, served in hosts:
            if not host.hosts:
                self._any = self._any or served
            for name in host.hosts:
                table = self._deep if name.startswith("**.") else self._wild if name.startswith("*.") else self._exact
                table.setdefault(name.lstrip("*."), served)     # the first one has it, as the compiler orders them

    def find(self, name: str | None) -> Served | None:
        if name is None:
            return self._any
        found = self._exact.get(name)
        if found is None and self._wild:
            found = self._wild.get(name.partition(".")[2])
        if found is None and self._deep:
            found = next((self._deep[stem] for stem in _stems(name) if stem in self._deep), None)
        return found or self._any


def _stems(name: str) -> Iterator[str]:
    while name := name.partition(".")[2]:
        yield name


class EdgeHosts:
    """All that is served, by the port that clients know. It begins with nothing."""

    def __init__(self) -> None:
        self._edge: Edge | None = None
        self._served: dict[Material, Served] = {}
        self._ports: dict[int, _Names] = {}

    def follow(self, edge: Edge | None) -> "EdgeHosts":
        """Take what the snapshot has now; what is as it was keeps its context."""
        if edge is not self._edge:
            known, self._served, self._edge = self._served, {}, edge
            self._ports = {
                listener.port: _Names((host, self._of(host, known)) for host in listener.tls)
                for listener in (edge.listeners if edge is not None else ()) if listener.tls is not None
            }
        return self

    def _of(self, host: TlsHost, known: dict[Material, Served]) -> Served:
        material = host.chain, host.key, host.clients, host.min_version
        if host.chain is None or host.key is None:
            return Served(host.name, material)      # its name is all that tells it from others
        served = self._served.get(material) or known.get(material) or Served(host.name, material)
        self._served[material] = served
        return served

    def find(self, port: int, name: str | None) -> Served | None:
        """
        Args:
            name: lower case, without a dot at its end; None: the client said none.
        """
        names = self._ports.get(port)
        return names.find(name) if names is not None else None

    def speaks_tls(self, port: int) -> bool:
        return port in self._ports
