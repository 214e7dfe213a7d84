"""The request target: which path may reach a rule, in one spelling.

Trust: what comes in is a client's bytes; what leaves has a path that `model/path.py` judged. Attacked by tests/protocol/test_target.py.

Most targets are plain and return as they came. Where RFC 3986 s6.2.2 calls two spellings equal (escaped letters, digits and
`-._~`; the case of hex digits) the one normal spelling is judged *and* forwarded. Escapes of other characters stay as they are,
since signatures are made over them. The query stays untouched.
Spec: RFC 9112 s3.2.
"""

import re

from sidecar.model.path import judge_path

MAX_TARGET_BYTES = 8192

# Segments that begin with a letter, digit, `_`, `~` or `-` and hold nothing to judge. A shortcut: `judge_path` says the same.
PLAIN = rb"(?=/)(?:/[A-Za-z0-9_~-][!\"$&-.0-:<=>@A-Z\[\]^_`a-z{|}~]*+)*+/?(?:\?[!\"$-~]*+)?"

_PLAIN = re.compile(PLAIN)

_BAD_BYTE = re.compile(rb"[^!\"$-~]")               # controls, space, `#`, DEL, non-ASCII


def judge_target(target: bytes) -> bytes:
    """The origin-form `target` (path, perhaps `?` and query) as it is judged and forwarded.

    Raises: ValueError with the rule that is broken. The length is the caller's affair.
    """
    if _PLAIN.fullmatch(target) is not None:
        return target
    if not target.startswith(b"/"):
        raise ValueError("the target does not begin with a slash")
    if (bad := _BAD_BYTE.search(target)) is not None:
        raise ValueError(f"byte 0x{bad[0][0]:02x} in the target; escape it (a fragment does not belong there)")
    path, mark, query = target.partition(b"?")
    return judge_path(path) + mark + query
