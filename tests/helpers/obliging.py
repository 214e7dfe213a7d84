"""The most obliging server there is: it decodes as often as it can, knows every kind of slash, drops parameters and resolves dots."""

import re
from urllib.parse import unquote_to_bytes


def obliging(target: bytes) -> bytes:
    """The path that the target could lead to on some server or other.

    Case is kept, and so is a trailing space, since most keep them; `;`, `?` and `#` that are escaped are no separators to anybody.
    """
    path = re.sub(rb";[^/]*", b"", target.partition(b"?")[0].partition(b"#")[0])
    path = re.sub(rb"%u(?:00)?([0-9A-Fa-f]{2})", rb"%\1", path)
    for _ in range(4):
        path = unquote_to_bytes(path)
    path = path.replace(b"\xc0\xaf", b"/").replace(b"\xe0\x80\xaf", b"/").replace(b"\xc0\xae", b".").replace(b"\xe0\x80\xae", b".")
    path = path.replace(b"\\", b"/").partition(b"\0")[0]
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        segment = re.sub(rb"[\x00-\x1f]", b"", segment)
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    return b"/" + b"/".join(kept) + (b"/" if kept and path.endswith((b"/", b"/.", b"/..")) else b"")
