"""Which values of traceparent and tracestate are taken up, and what is told on."""

import pytest

from sidecar.telemetry.trace import take_up

TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
PARENT = b"00-" + TRACE + b"-" + SPAN + b"-01"


def parent(version: bytes = b"00", trace: bytes = TRACE, span: bytes = SPAN, flags: bytes = b"01", rest: bytes = b"") -> bytes:
    return b"-".join((version, trace, span, flags)) + rest


@pytest.mark.parametrize(("given", "flags"), [
    (PARENT, b"01"), (parent(flags=b"00"), b"00"), (parent(flags=b"03"), b"03"), (parent(flags=b"ff"), b"03"),
    (parent(version=b"01"), b"01"), (parent(version=b"cc", rest=b"-what-the-future-will-be-like"), b"01"),
    (parent(version=b"fe", rest=b"-"), b"01"),
])
def test_taken_up(given: bytes, flags: bytes) -> None:
    """> Vendors MUST set the unknown flags to zero; of a higher version the known parts count."""
    trace = take_up([given], [])
    assert trace is not None
    assert (trace.trace_id, trace.parent_id) == (TRACE.decode(), SPAN.decode())
    assert trace.headers == [(b"traceparent", b"-".join((b"00", TRACE, SPAN, flags)))]


@pytest.mark.parametrize("given", [
    [], [PARENT, PARENT], [PARENT + b"," + PARENT], [b""], [b"x"], [PARENT[:-1]], [PARENT + b"0"], [PARENT + b"-"], [PARENT + b"\n"],
    [b" " + PARENT], [PARENT.upper()], [PARENT.replace(b"-", b"_")], [parent(version=b"ff")], [parent(version=b"0")],
    [parent(version=b"01", rest=b".x")], [parent(version=b"01", rest=b"-\x80")], [parent(trace=b"0" * 32)], [parent(span=b"0" * 16)],
    [parent(trace=TRACE[:-1])], [parent(trace=TRACE + b"0")], [parent(span=b"g" * 16)], [parent(flags=b".0")],
])
def test_dropped(given: list[bytes]) -> None:
    assert take_up(given, [b"a=1"]) is None


@pytest.mark.parametrize(("given", "told"), [
    ([b"a=1"], b"a=1"), ([b"a=1", b"b=2"], b"a=1,b=2"), ([b"a=1 , b=2,,"], b"a=1 , b=2,,"),
    ([b"t@v=x y", b"1a/b*c_d-e=!~"], b"t@v=x y,1a/b*c_d-e=!~"),
    ([], None), ([b""], None), ([b"A=1"], None), ([b"a"], None), ([b"a=1=2"], None), ([b"a=\x80"], None), ([b"=1"], None),
    ([b",".join([b"a=1"] * 32)], b",".join([b"a=1"] * 32)), ([b",".join([b"a=1"] * 33)], None),
    ([b"a=" + b"x" * 256], b"a=" + b"x" * 256), ([b"a=" + b"x" * 257], None),
    ([b"a=" + b"x" * 250, b"b=" + b"y" * 250], b"a=" + b"x" * 250 + b",b=" + b"y" * 250),
    ([b"a=" + b"x" * 251, b"b=" + b"y" * 256, b"c=3"], b"a=" + b"x" * 251 + b",b=" + b"y" * 256),       # to the last byte
    ([b"a=" + b"x" * 252, b"b=" + b"y" * 256, b"c=3"], b"a=" + b"x" * 252),
    ([b"x" * 10_000_000], None),
])
def test_state(given: list[bytes], told: bytes | None) -> None:
    trace = take_up([PARENT], given)
    assert trace is not None
    assert [value for name, value in trace.headers if name == b"tracestate"] == ([] if told is None else [told])
