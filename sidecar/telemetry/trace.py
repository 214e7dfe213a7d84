"""The trace that a request belongs to: passed on as it is where a caller tells of one, well-formed.

No span is ours: who named one without exporting it would leave a hole in everybody's traces. And no trace begins here: whether one is
recorded is for the applications' own samplers, and a flag that we made up would overrule them. What is broken is dropped.
Spec: W3C Trace Context s3.2, s3.3.
"""

import re

import msgspec

from sidecar.model.message import Headers

_PARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_KNOWN_FLAGS = 0x03     # sampled, random; > MUST set all others to zero
# > Vendors SHOULD propagate at least 512 characters of a combined header (s3.3.1.5): so many, and whole members.
_MAX_STATE_BYTES = 512
_MEMBER = rb"[ \t]*+(?:[a-z0-9][a-z0-9_*/@-]{0,255}+=[ -+\--<>-~]{0,256}+)?"
_STATE = re.compile(rb"%b(?:,%b){0,31}" % (_MEMBER, _MEMBER))


class Trace(msgspec.Struct, frozen=True):
    """
    Args:
        trace_id: 32 hex digits.
        parent_id: the caller's span, 16 hex digits.
        headers: what the next hop is told.
    """

    trace_id: str
    parent_id: str
    headers: Headers


def take_up(parents: list[bytes], states: list[bytes]) -> Trace | None:
    """The trace that the values of traceparent (one or more) and tracestate tell of; None if they are not well-formed."""
    match = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    # > Version 00 has nothing behind the flags; of a higher version the known parts are read, and 00 is sent (s3.2.3, s4.3).
    if match is None or (match[1] == b"00" and match[5] is not None):
        return None
    flags = int(match[4], 16) & _KNOWN_FLAGS
    headers = [(b"traceparent", b"00-%b-%b-%02x" % (match[2], match[3], flags))]
    if state := _whole_members(b",".join(states)):
        headers.append((b"tracestate", state))
    return Trace(match[2].decode(), match[3].decode(), headers)


def _whole_members(state: bytes) -> bytes:
    """`state` cut to its length; nothing if it is not well-formed."""
    if len(state) > _MAX_STATE_BYTES:
        state = state[:_MAX_STATE_BYTES + 1].rpartition(b",")[0]
    return state if _STATE.fullmatch(state) else b""
