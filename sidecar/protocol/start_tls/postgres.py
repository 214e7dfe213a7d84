"""PostgreSQL: the client asks with eight bytes, the server answers with one, and then it is TLS or it is not.

Trust: both sides are strangers here. Of the server one byte is taken, and no other than the one; the application's requests for
encryption are recognised whole. Attacked by tests/protocol/start_tls/test_postgres.py.
Spec: PostgreSQL "Frontend/Backend Protocol", SSL Session Encryption and Message Formats.
"""

import struct

TLS_REQUEST = struct.pack("!II", 8, 80877103)   # SSLRequest
GSS_REQUEST = struct.pack("!II", 8, 80877104)   # GSSENCRequest
DECLINED = b"N"
CONNECTION_FAILURE = b"08006"


def read_answer(data: bytes) -> bytes | None:
    """The server's answer to TLS_REQUEST, if it is yes."""
    if not data:
        return None
    if data[:1] == DECLINED:
        raise ValueError("the server does not offer TLS")
    if data[:1] != b"S":
        raise ValueError("the server answers the request for TLS with something else")
    if len(data) > 1:
        raise ValueError("bytes behind the answer to the request for TLS")
    return data


def asks_for_encryption(data: bytes) -> bool | None:
    """Whether an application begins with a request for TLS or GSSAPI, of eight bytes, rather than with its first message."""
    if data[:8] in (TLS_REQUEST, GSS_REQUEST):
        return True
    return None if TLS_REQUEST.startswith(data) or GSS_REQUEST.startswith(data) else False


def refusal(text: str) -> bytes:
    """An ErrorResponse that ends a connection."""
    fields = b"".join(kind + value + b"\0" for kind, value in (
        (b"S", b"FATAL"), (b"V", b"FATAL"), (b"C", CONNECTION_FAILURE), (b"M", text.replace("\0", " ").encode()),
    )) + b"\0"
    return b"E" + struct.pack("!I", 4 + len(fields)) + fields
