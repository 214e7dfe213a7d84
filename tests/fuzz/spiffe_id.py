"""Any bytes: an identity that is put together from its parts to the very same text, or a ValueError."""

from sidecar.model import identity

PIECES = (
    b"spiffe://", b"SPIFFE://", b"example.org", b"/ns/", b"/sa/", b"shop", b"web", b"a.b", b"..", b".", b"/", b"//", b"%2f", b"%00",
    b"\x00", b"\n", b":", b"@", b"?", b"#",
    b"_", b"-", b"A", "\u212a".encode(), "\u0660".encode(), b"\xff", b"a" * 64, b"a." * 130,
)


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        name = identity.parse(text)
    except ValueError:
        return
    assert name == text
    domain, namespace, account = identity.parts(name)
    assert identity.workload_id(domain, namespace, account) == name
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_:/")
    assert [part for part in text.split("/")[2:] if part in ("", ".", "..")] == []
    assert text.count("/") == 6
