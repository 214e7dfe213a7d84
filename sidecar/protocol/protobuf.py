"""protobuf and gRPC frames, as far as a few small messages need them.

Written by hand: a library of protobuf would cost a pod ten times what its whole sidecar may.

Trust: what is read is somebody's bytes; what leaves `read_message` and `read_fields` is fields or a ValueError. Attacked by
tests/protocol/test_protobuf.py (any bytes: fields or ValueError).
Spec: protobuf.dev "Encoding"; grpc.io "gRPC over HTTP2", Length-Prefixed-Message.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_MAX_FIELD = 0x1FFFFFFF

Field = tuple[int, int | bytes]


def frame(message: bytes) -> bytes:
    """A message as gRPC sends it, uncompressed."""
    return b"\0" + len(message).to_bytes(4) + message


def read_message(body: bytes) -> list[Field]:
    """The fields of the one message that a body is.

    Raises: ValueError if it is none, several, compressed, or no message.
    """
    if len(body) < 5 or body[0] != 0 or int.from_bytes(body[1:5]) != len(body) - 5:
        raise ValueError("the body is not one uncompressed message")
    return list(read_fields(body[5:]))


def field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


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
