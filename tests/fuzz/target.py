"""Any bytes: a target whose path nobody reads otherwise, however often it is decoded, or a ValueError."""

from urllib.parse import unquote_to_bytes

from sidecar.protocol.target import judge_target
from tests.helpers.obliging import obliging

PIECES = (
    b"/", b"//", b"/../", b"/./", b"..", b"%2e", b"%2F", b"%5c", b"%25", b"%252e", b"%00", b"%0a", b"%7f", b"%41", b"%7e", b"%c0%af",
    b"%C3%A9", b"%e2%82", b"%u002f", b"%", b"%2",
    b";", b";a=b", b"\\", b"?", b"#", b"\x00", b" ", b"\xff", b"admin", b"~", b"!", b"*", b"http://a/",
)


def fuzz(data: bytes) -> None:
    try:
        target = judge_target(data)
    except ValueError:
        return
    assert judge_target(target) == target, "a second judge would say something else"
    path, mark, query = target.partition(b"?")
    assert mark + query == b"".join(data.partition(b"?")[1:]), "the query was touched"
    decoded = unquote_to_bytes(path)
    assert unquote_to_bytes(decoded) == decoded, "a second decoding changes it"
    assert decoded.count(b"/") == path.count(b"/"), "a hidden slash"
    assert obliging(path) == decoded, "some server goes elsewhere"
