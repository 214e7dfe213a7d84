"""Messages against what the library of protobuf made of the same values."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.protobuf import read_fields, read_message
from sidecar.protocol.workload_api import X509Svid, render_x509_bundles, render_x509_svids

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
    read = read_message(render_x509_svids(svids))
    assert [number for number, _ in read] == [1] * len(svids)
    for (_, message), svid in zip(read, svids, strict=True):
        assert isinstance(message, bytes)
        assert list(read_fields(message)) == [(1, WEB.encode()), (2, svid.chain), (3, svid.key), (4, svid.bundle)]
