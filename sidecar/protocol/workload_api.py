"""The SPIFFE Workload API in bytes: its messages of X.509 (protobuf) and the gRPC frame around each.

Written by hand: six fields are all there is, and a library of protobuf would cost a pod ten times what its whole sidecar may.

Trust: a request is the application's bytes; what leaves `read_request` is its fields or a ValueError. Attacked by
tests/protocol/test_workload_api.py (any bytes: fields or ValueError).
Spec: SPIFFE_Workload_API s5.1; protobuf.dev "Encoding"; grpc.io "gRPC over HTTP2", Length-Prefixed-Message.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SERVICE = b"/SpiffeWorkloadAPI/"
FETCH_X509_SVID = SERVICE + b"FetchX509SVID"
FETCH_X509_BUNDLES = SERVICE + b"FetchX509Bundles"
MAX_REQUEST_BYTES = 4096    # there are no parameters yet

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_MAX_FIELD = 0x1FFFFFFF

Field = tuple[int, int | bytes]


@dataclass(frozen=True, slots=True)
class X509Svid:
    """
    Args:
        chain: DER certificates one behind the other, leaf first.
        key: PKCS #8 in DER.
        bundle: the trust domain's roots, DER, one behind the other.
    """

    spiffe_id: str
    chain: bytes
    key: bytes
    bundle: bytes


def render_x509_svids(svids: Iterable[X509Svid]) -> bytes:
    """An X509SVIDResponse in its frame. Neither CRLs nor foreign bundles: whoever was revoked does not get here."""
    return _frame(b"".join(_field(1, _field(1, svid.spiffe_id.encode()) + _field(2, svid.chain) + _field(3, svid.key)
                                  + _field(4, svid.bundle)) for svid in svids))


def render_x509_bundles(bundles: Iterable[tuple[str, bytes]]) -> bytes:
    """An X509BundlesResponse in its frame.

    Args:
        bundles: SPIFFE ID of a trust domain, with its roots as `X509Svid.bundle` has them.
    """
    return _frame(b"".join(_field(2, _field(1, domain.encode()) + _field(2, bundle)) for domain, bundle in bundles))


def read_request(body: bytes) -> list[Field]:
    """The fields of the one message that a request is. No method here asks for any; those of a later version are passed over.

    Raises: ValueError if it is none, several, compressed, or no message.
    """
    if len(body) < 5 or body[0] != 0 or int.from_bytes(body[1:5]) != len(body) - 5:
        raise ValueError("the request is not one uncompressed message")
    return list(read_fields(body[5:]))


def read_fields(data: bytes) -> Iterator[Field]:
    """(number, value) of each field of a message, in order. ValueError where it breaks off or is none; groups are none."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_FIELD:
            raise ValueError(f"{number} is no field number")
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise ValueError(f"field {number} is of no known kind: {kind}")
        if at + size > len(data):
            raise ValueError(f"field {number} breaks off")
        yield number, data[at:at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise ValueError("a number breaks off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at
    raise ValueError("a number of more than 64 bits")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message
