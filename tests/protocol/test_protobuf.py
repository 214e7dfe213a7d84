"""Messages against what the library of protobuf makes of the same bytes, and any bytes where one belongs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.protobuf import field, frame, read_fields, read_message


def test_what_is_written() -> None:
    assert frame(field(1, b"") + field(2, b"c" * 200)) == b"\0\0\0\0\xcd\n\0\x12\xc8\x01" + b"c" * 200


# Each was put to the library, which judged alike.
@pytest.mark.parametrize(("message", "fields"), [
    ("", []), ("0a0161", [(1, b"a")]), ("0a00", [(1, b"")]), ("0800", [(1, 0)]), ("089601", [(1, 150)]),
    ("08ffffffffffffffffff01", [(1, 2**64 - 1)]), ("0d01020304", [(1, b"\1\2\3\4")]), ("090102030405060708", [(1, bytes(range(1, 9)))]),
    ("f8ffffff0f01", [(2**29 - 1, 1)]), ("08010802", [(1, 1), (1, 2)]),
])
def test_fields(message: str, fields: list[tuple[int, int | bytes]]) -> None:
    assert list(read_fields(bytes.fromhex(message))) == fields


@pytest.mark.parametrize("message", [
    "00", "0a05", "0a", "08", "0d010203", "0901", "0f", "0e", "f8ffffff7f01", "0880", "0aff", "0affffffffffffffffff01",
    "0b0c",                     # a group: the library knows them still, and nobody has sent one for a decade
    "08ffffffffffffffffff7f",   # more than 64 bits, of which the library drops some
])
def test_no_message(message: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(read_fields(bytes.fromhex(message)))


@pytest.mark.parametrize("body", [
    b"", b"\0", b"\0\0\0\0", b"\1\0\0\0\0", b"\2\0\0\0\0", b"\0\0\0\0\1", b"\0\0\0\0\0\0", b"\0\0\0\0\0" * 2, b"\0\0\0\0\1\0",
])
def test_no_single_message(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_message(body)


@given(st.binary(max_size=64) | st.binary(max_size=64).map(frame))
def test_any_bytes(body: bytes) -> None:
    """Any bytes: fields or ValueError, nothing else."""
    try:
        fields = read_message(body)
    except ValueError:
        return
    assert all(1 <= number < 2**29 for number, _ in fields)
