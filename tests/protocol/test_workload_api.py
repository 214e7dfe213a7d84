"""Messages against what the library of protobuf made of the same values, and any bytes where a request belongs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.workload_api import (
    X509Svid,
    read_fields,
    read_request,
    render_x509_bundles,
    render_x509_svids,
)

WEB = "spiffe://example.org/ns/shop/sa/web"


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message


def test_svids_as_protobuf_writes_them() -> None:
    made = render_x509_svids([X509Svid(WEB, b"c" * 200, b"key", b"root")])
    known = b"\n\xfb\x01\n#" + WEB.encode() + b"\x12\xc8\x01" + b"c" * 200 + b'\x1a\x03key"\x04root'
    assert made == framed(known)


def test_bundles_as_protobuf_writes_them() -> None:
    assert render_x509_bundles([("spiffe://example.org", b"root")]) == framed(b"\x12\x1c\n\x14spiffe://example.org\x12\x04root")


@given(st.lists(st.builds(X509Svid, st.just(WEB), st.binary(max_size=20_000), st.binary(max_size=300), st.binary(max_size=9)), max_size=3))
def test_what_is_written_is_read(svids: list[X509Svid]) -> None:
    """Any values: each comes back from the field that is its own."""
    read = read_request(render_x509_svids(svids))
    assert [number for number, _ in read] == [1] * len(svids)
    for (_, message), svid in zip(read, svids, strict=True):
        assert isinstance(message, bytes)
        assert list(read_fields(message)) == [(1, WEB.encode()), (2, svid.chain), (3, svid.key), (4, svid.bundle)]


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
def test_no_request(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_request(body)


@given(st.binary(max_size=64) | st.binary(max_size=64).map(framed))
def test_any_bytes(body: bytes) -> None:
    """Any bytes: fields or ValueError, nothing else."""
    try:
        fields = read_request(body)
    except ValueError:
        return
    assert all(1 <= number < 2**29 for number, _ in fields)
