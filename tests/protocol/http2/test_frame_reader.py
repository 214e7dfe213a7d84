"""Frames out of bytes, whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocol.detect import PREFACE
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.flood import Budget
from sidecar.protocol.http2.frame_reader import MAX_BLOCK_BYTES, Frame, FrameReader
from sidecar.protocol.http2.frames import Code, Http2Error, render
from tests.helpers.http2 import OPENING

steps = pytest.mark.parametrize("step", [1, 5, 1 << 20])
SETTINGS = (frames.SETTINGS, 0, 0, b"", 0)


def reader(*, needs_preface: bool = True) -> FrameReader:
    return FrameReader(Budget("frames", 1000, 0), needs_preface=needs_preface)


def read(data: bytes, step: int = 1 << 20) -> list[Frame]:
    one = reader()
    return [frame for at in range(0, len(data), step) for frame in one.feed(data[at:at + step], 0.0)]


def refused(data: bytes, step: int = 1 << 20) -> Code:
    with pytest.raises(Http2Error) as caught:
        read(data, step)
    return caught.value.code


@steps
def test_frames_one_after_the_other(step: int) -> None:
    sent = OPENING + render(frames.DATA, 1, 3, b"abc") + render(frames.PING, 0, 0, b"12345678") + render(99, 7, 5, b"")
    assert read(sent, step) == [SETTINGS, (frames.DATA, 1, 3, b"abc", 3), (frames.PING, 0, 0, b"12345678", 8), (99, 7, 5, b"", 0)]


@steps
def test_the_reserved_bit_is_read_over(step: int) -> None:
    assert read(OPENING + render(frames.DATA, 0, 3 | 1 << 31, b"a"), step)[1:] == [(frames.DATA, 0, 3, b"a", 1)]


@steps
def test_padding_and_priority_are_taken_off(step: int) -> None:
    padded = render(frames.DATA, frames.PADDED, 1, b"\x03abc\0\0\0")
    full = frames.PADDED | frames.HAS_PRIORITY | frames.END_HEADERS
    head = render(frames.HEADERS, full, 1, b"\x02" + b"\0\0\0\0\x10" + b"block" + b"\0\0")
    assert read(OPENING + padded + head, step)[1:] == [
        (frames.DATA, frames.PADDED, 1, b"abc", 7), (frames.HEADERS, full, 1, b"block", 13),
    ]


@steps
def test_a_header_block_in_pieces(step: int) -> None:
    more = render(frames.CONTINUATION, 0, 1, b"b") + render(frames.CONTINUATION, frames.END_HEADERS, 1, b"c")
    (found,) = read(OPENING + render(frames.HEADERS, frames.END_STREAM, 1, b"a") + more, step)[1:]
    assert found == (frames.HEADERS, frames.END_STREAM | frames.END_HEADERS, 1, b"abc", 3)


@steps
@pytest.mark.parametrize(("sent", "code"), [
    (b"GET / HTTP/1.1\r\n", Code.PROTOCOL_ERROR),
    (PREFACE[:-1] + b"x", Code.PROTOCOL_ERROR),
    (PREFACE + render(frames.PING, 0, 0, b"12345678"), Code.PROTOCOL_ERROR),
    (PREFACE + render(frames.SETTINGS, frames.ACK, 0), Code.PROTOCOL_ERROR),
    (OPENING + frames.render_header(frames.DATA, 0, 1, 16385), Code.FRAME_SIZE_ERROR),
    (OPENING + frames.render_header(99, 0, 1, (1 << 24) - 1), Code.FRAME_SIZE_ERROR),
    (OPENING + render(frames.DATA, frames.PADDED, 1, b""), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.DATA, frames.PADDED, 1, b"\x03abc"[:3]), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.HEADERS, frames.PADDED | 4, 1, b"\x01"), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.HEADERS, frames.HAS_PRIORITY | 4, 1, b"\0\0\0\0"), Code.FRAME_SIZE_ERROR),
    (OPENING + render(frames.HEADERS, frames.HAS_PRIORITY | 4, 1, b"\0\0\0\x01\x10"), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.HEADERS, 4, 0, b"a"), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.HEADERS, 4, 2, b"a"), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.CONTINUATION, 4, 1, b"a"), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.HEADERS, 0, 1, b"a") + render(frames.CONTINUATION, 4, 3, b"b"), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.HEADERS, 0, 1, b"a") + render(frames.DATA, 0, 1, b"b"), Code.PROTOCOL_ERROR),
    (OPENING + render(frames.HEADERS, 0, 1, b"a") + render(99, 0, 1, b"b"), Code.PROTOCOL_ERROR),
])
def test_what_the_framing_forbids(sent: bytes, code: Code, step: int) -> None:
    assert refused(sent, step) is code


def test_a_frame_that_is_too_large_is_refused_by_its_header() -> None:
    assert refused(OPENING + frames.render_header(frames.DATA, 0, 1, 16385)[:9]) is Code.FRAME_SIZE_ERROR


def test_a_header_block_without_end() -> None:
    """64 KiB are taken, one byte more is not; and empty pieces are counted."""
    whole, piece = render(frames.HEADERS, 0, 1, b"a" * 16384), render(frames.CONTINUATION, 0, 1, b"a" * 16384)
    end = render(frames.CONTINUATION, frames.END_HEADERS, 1, b"")
    assert len(read(OPENING + whole + piece * 3 + end)[1][3]) == MAX_BLOCK_BYTES
    assert refused(OPENING + whole + piece * 3 + render(frames.CONTINUATION, 0, 1, b"a")) is Code.ENHANCE_YOUR_CALM
    empty = render(frames.CONTINUATION, 0, 1)
    assert len(read(OPENING + whole + empty * 1000)) == 1
    assert refused(OPENING + whole + empty * 1001) is Code.ENHANCE_YOUR_CALM


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_behind_the_opening(data: bytes, step: int) -> None:
    """Any bytes: the same frames, or the same error, however they are cut up."""
    def outcome(step: int) -> tuple[list[Frame], Code | None]:
        one, found = reader(), []
        sent = OPENING + data
        try:
            for at in range(0, len(sent), step):
                found += list(one.feed(sent[at:at + step], 0.0))
        except Http2Error as exc:
            return found, exc.code
        return found, None

    whole, code = outcome(1 << 20)
    cut, same_code = outcome(step)
    assert code is same_code
    assert code is not None or cut == whole


# -- since when a head is awaited


def begun(*pieces: bytes) -> list[float | None]:
    one = reader()
    seen = []
    for now, piece in enumerate(pieces, 1):
        list(one.feed(piece, float(now)))
        seen.append(one.begun_at)
    return seen


def test_time_counts_from_the_first_byte_of_a_head_to_its_end() -> None:
    head = render(frames.HEADERS, 0, 1, b"a")
    rest = render(frames.CONTINUATION, frames.END_HEADERS, 1, b"b")
    assert begun(OPENING, head[:3], head[3:], rest[:5], rest[5:]) == [None, 2, 2, 2, None]


def test_trickled_continuations_do_not_start_it_anew() -> None:
    more = render(frames.CONTINUATION, 0, 1, b"b")
    assert begun(OPENING, render(frames.HEADERS, 0, 1, b"a"), more, more, more) == [None, 2, 2, 2, 2]


def test_other_frames_count_too_and_data_does_not() -> None:
    data, ping = render(frames.DATA, 0, 1, b"abc"), render(frames.PING, 0, 0, b"12345678")
    assert begun(OPENING, data[:10], data[10:], ping[:10], ping[10:] + ping[:1], ping[1:]) == [None, None, None, 4, 5, None]


@pytest.mark.parametrize("needs_preface", [True, False])
def test_who_sends_no_preface(needs_preface: bool) -> None:
    one = reader(needs_preface=needs_preface)
    sent = OPENING if needs_preface else OPENING[len(PREFACE):]
    assert list(one.feed(sent, 0.0)) == [SETTINGS]
