"""Any bytes: a hello, None while more could make one, or a ValueError; and whoever answers the same bytes reads the same name in them.

The other reader is OpenSSL: if a rule about names is asked about one name and the server behind us serves another, it is no rule.
"""

from OpenSSL import SSL

from sidecar.protocol.client_hello import ClientHello, read_client_hello

PIECES = (
    b"\x16\x03\x01", b"\x16\x03\x03", b"\x01\x00", b"\x03\x03", b"\x00\x00", b"\x00\x10", b"\xfe\x0d", b"\x00\x0e\x00\x00\x0b",
    b"\x00\x0c\x00\x0a\x00\x00\x07a.b.com",
    b"\x00\x03\x02h2", b"\x13\x01", b"a.com", b"A.com", b".", b"\x00", b"\xff", bytes(32),
)


def fuzz(data: bytes) -> None:
    whole = outcome(data)
    for end in {*range(0, len(data), max(1, len(data) // 8)), len(data) - 1} - {-1}:
        begun = outcome(data[:end])
        assert begun is None or begun == whole, "more bytes changed an answer"
    if isinstance(whole, ClientHello):
        named = asked_of_openssl(data)
        assert named is None or named == (whole.server_name or ""), f"OpenSSL reads the name {named!r}, we read {whole.server_name!r}"


def outcome(data: bytes) -> ClientHello | bool | None:
    """False: refused."""
    try:
        return read_client_hello(data)
    except ValueError:
        return False


def asked_of_openssl(data: bytes) -> str | None:
    """The name that OpenSSL finds, empty if there is none; None if it gets no further than the hello."""
    named: list[str] = []
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_tlsext_servername_callback(lambda server: named.append((server.get_servername() or b"").decode("latin-1").lower()))
    server = SSL.Connection(context, None)
    server.set_accept_state()
    server.bio_write(data)
    try:
        server.do_handshake()
    except SSL.Error:
        pass    # there is no certificate
    return named[0] if named else None
