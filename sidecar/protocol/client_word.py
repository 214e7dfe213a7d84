"""The field by which an ingress gateway tells the pod behind it of the client: one JSON object in one line.

    bartizan-client: {"address":"192.0.2.7","scheme":"https","host":"www.example.com","port":443}

Trust: whoever reads it must know from whom it comes: `proxy/headers.py` asks for the identity of the caller, and takes the field off
every request on every way. What leaves here is an address in its one spelling, a host of plain letters, and no byte that could end or
split a header field. Attacked by tests/protocol/test_client_word.py.
"""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from sidecar.model.address import canonical
from sidecar.model.client import Client, ClientWord

MOST_SUBJECT_BYTES = 2048
# What may stand in a quoted string as it is; `%` and what else is not here is percent-encoded.
_PLAIN = " !#$&'()*+,-./:;<=>?@[]^_`{|}~"

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(ClientWord)


def word_of(client: Client, host: bytes, port: int | None) -> bytes:
    """The value of the field for one request.

    Args:
        host, port: as the client asked for them.
    """
    authority = host.decode("ascii") if port is None else f"{host.decode('ascii')}:{port}"
    certificate = client.certificate
    if certificate is None:
        return _ENCODER.encode(ClientWord(client.address, client.scheme, authority, client.port))
    # A part of a subject could be another's: what is too long is not said at all, and the hash tells whose it is.
    subject = quote(certificate.subject, safe=_PLAIN)
    subject = subject if len(subject) <= MOST_SUBJECT_BYTES else ""
    return _ENCODER.encode(ClientWord(client.address, client.scheme, authority, client.port, subject, certificate.fingerprint))


def read_word(values: Sequence[bytes]) -> ClientWord | None:
    """What the field says; None: there is none, or it repeats, or is malformed."""
    if len(values) != 1:
        return None
    try:
        word = _DECODER.decode(values[0])
        return word if str(canonical(word.address)) == word.address else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
