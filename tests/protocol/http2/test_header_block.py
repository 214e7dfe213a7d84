"""Compression within limits; what is remembered is what would be found anew."""

import gc
import tracemalloc
from collections.abc import Callable

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.message import Headers
from sidecar.protocol.http2.frames import Code, Http2Error
from sidecar.protocol.http2.header_block import MAX_LIST_BYTES, HeaderDecoder, HeaderEncoder
from sidecar.protocol.pseudo import judge_request_fields, request_fields
from tests.helpers.http2 import GET, block


def fields_of(found: Headers) -> Headers:
    return [tuple(field) for field in found]    # type: ignore[misc]


def refused(data: bytes) -> Code:
    with pytest.raises(Http2Error) as caught:
        HeaderDecoder().read(data, None, fields_of)
    return caught.value.code


# -- limits


def test_a_list_that_expands_beyond_all_bounds() -> None:
    value = b"x" * 4000
    bomb = b"\x40\x01a\x7f" + bytes([0x80 | (4000 - 127) & 127, (4000 - 127) >> 7]) + value + b"\xbe" * 4000
    assert refused(bomb) is Code.ENHANCE_YOUR_CALM


def test_a_list_just_within_bounds_is_read_to_its_end() -> None:
    fields = [(b"a", b"x" * 4000)] * (MAX_LIST_BYTES // 4033)
    assert HeaderDecoder().read(block(fields), None, fields_of) == fields


@pytest.mark.parametrize("data", [
    b"\x80",                            # index 0
    b"\xff\x80\x01",                    # beyond the table
    b"\x7f" + b"\xff" * 20,             # an integer without end
    b"\xff" * 65536,
    b"\x40\x05ab",                      # cut
    b"\x40",
    b"\x3f\xe2\x1f",                    # a table of 4097
    b"\x82\x20",                        # an update behind a field
    b"\x20\x20\x20" + b"\x82",          # three of them
    b"\x3f\x01" * 3 + b"\x82",
    b"\x40\x81\xff\x01b",               # padding of Huffman that is none
])
def test_broken_blocks(data: bytes) -> None:
    assert refused(data) is Code.COMPRESSION_ERROR


def test_the_error_quotes_nothing_that_the_peer_sent() -> None:
    with pytest.raises(Http2Error) as caught:
        HeaderDecoder().read(b"\x40\x06secretpassword", None, fields_of)
    assert "secret" not in caught.value.detail
    assert "pass" not in caught.value.detail


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes: fields or Http2Error, nothing else."""
    try:
        found = HeaderDecoder().read(data, None, fields_of)
    except Http2Error:
        return
    assert all(type(part) is bytes for field in found for part in field)


# -- remembering

SOME_NAMES = st.sampled_from([b":path", b"a", b"b", b"cookie", b"accept"])
SOME_VALUES = st.sampled_from([b"", b"1", b"2" * 90, b"3" * 4000])
FIELDS = st.lists(st.tuples(SOME_NAMES, SOME_VALUES), max_size=5)


@given(st.lists(st.one_of(FIELDS, st.sampled_from([0, 40, 200, 4096, 1 << 20])), max_size=30))
def test_remembering_changes_nothing(steps: list[Headers | int]) -> None:
    """However fields repeat and table limits move, each list arrives, at ours and at the library's decoder."""
    encoder, decoder, judge = HeaderEncoder(), HeaderDecoder(), hpack.Decoder()
    for step in steps:
        if isinstance(step, int):
            encoder.limit_table([step])
        else:
            data = encoder.encode(step)
            assert decoder.read(data, None, fields_of) == fields_of(judge.decode(data, raw=True)) == step


@given(st.lists(FIELDS, max_size=30))
def test_the_librarys_blocks_are_read_as_the_library_reads_them(lists: list[Headers]) -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder()
    for fields in lists:
        assert decoder.read(encoder.encode(fields), None, fields_of) == fields


# Static :status 200; literals that are added, one by a static name, one as large as half a table; one that is not added; references
# to what was added last, before that, long before; limits to the table.
BRICKS = [
    b"\x88", b"\x76\x01s", b"\x40\x01a\x01b", b"\x40\x01a\x01c", b"\x40\x01l" + b"\x7f\xd1\x0e" + b"l" * 2000, b"\x00\x01n\x01n",
    b"\xbe", b"\xbf", b"\xc0", b"\xc8", b"\x20", b"\x3f\x21", b"\x3f\xe1\x1f",
]
BLOCKS = st.lists(st.sampled_from(BRICKS), max_size=4).map(b"".join).filter(lambda data: b"\x20\x20\x20" not in data)


class Beside:
    """A decoder of ours beside the library's: they say the same, and their tables hold the same."""

    def __init__(self) -> None:
        self.judged = 0
        self.is_over = False
        self._decoder, self._library = HeaderDecoder(), hpack.Decoder()

    def read(self, data: bytes) -> None:
        try:
            expected = fields_of(self._library.decode(data, raw=True))
        except hpack.HPACKError:
            self.is_over = True
            with pytest.raises(Http2Error):
                self._decoder.read(data, None, fields_of)
        else:
            assert self._decoder.read(data, None, self._judge) == expected
            assert list(self._decoder._decoder.header_table.dynamic_entries) == list(self._library.header_table.dynamic_entries)

    def _judge(self, fields: Headers) -> Headers:
        self.judged += 1
        return fields_of(fields)


@given(st.lists(BLOCKS, min_size=1, max_size=4), st.lists(st.integers(0, 3), max_size=24))
def test_blocks_that_repeat_say_what_the_library_reads(kinds: list[bytes], order: list[int]) -> None:
    """Whatever they refer to, add or limit."""
    beside = Beside()
    for number in order:
        if not beside.is_over:
            beside.read(kinds[number % len(kinds)])


@pytest.mark.parametrize("adding", [b"\x88\x76\x01s\x40\x01a\x01b\x40\x01a\x01c", b"\x40\x01a\x01b\xbe\x40\x01a\x01c\xbf"])
@pytest.mark.parametrize("follower", BRICKS)
def test_a_block_that_adds_the_same_again_is_judged_once(adding: bytes, follower: bytes) -> None:
    """And the table is what it would be, until it is full and beyond: the next block is read by it."""
    beside = Beside()
    for _ in range(100):
        beside.read(adding)
    assert beside.judged == 2
    for data in (follower, adding, b"\xbe\xbf\xc0"):
        if not beside.is_over:
            beside.read(data)


@pytest.mark.parametrize("data", [
    b"\x88\xbe\x40\x01a\x01b", b"\x20\x3f\xe1\x1f\x40\x01a\x01b", b"\x40\x01a\x01b" * 130,
])
def test_a_block_that_depends_on_the_table_limits_or_fills_it_is_read_each_time(data: bytes) -> None:
    beside = Beside()
    beside.read(b"\x40\x01z\x01z")
    for number in range(5):
        if not beside.is_over:
            assert beside.judged == number + 1
            beside.read(data)


def test_what_was_remembered_of_one_table_is_forgotten_with_it() -> None:
    beside, one, other = Beside(), b"\x40\x01a\x01b", b"\x40\x01c\x01d"
    for data in (one, one, other, other, one, b"\xbe", b"\xbe", other, b"\xbe"):
        beside.read(data)
    assert beside.judged == 6


def test_what_repeats_is_judged_once() -> None:
    judged: list[Headers] = []

    def judge(fields: Headers) -> int:
        judged.append(fields)
        return len(judged)

    encoder, decoder = hpack.Encoder(), HeaderDecoder()
    assert [decoder.read(encoder.encode(GET), True, judge) for _ in range(4)] == [1, 2, 2, 2]   # the first changed the table
    assert decoder.read(encoder.encode(GET), False, judge) == 3                                 # in another context
    assert decoder.read(encoder.encode([*GET, (b"new", b"x")]), True, judge) == 4               # another table:
    assert decoder.read(encoder.encode(GET), True, judge) == 5


def test_a_judgement_that_fails_is_not_remembered() -> None:
    decoder = HeaderDecoder()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            decoder.read(block(GET), None, lambda fields: 1 / 0)
    assert decoder.read(block(GET), None, fields_of) == GET


def memory_of(work: Callable[[], object]) -> int:
    """What stays after `work`, in bytes."""
    tracemalloc.start()
    try:
        kept = work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] if kept is not None else 0
    finally:
        tracemalloc.stop()


LITERAL_COOKIE = b"\x60\x7f" + bytes([0x80 | (3900 - 127) & 127, (3900 - 127) >> 7]) + b"x" * 3900     # enters the table


@pytest.mark.parametrize(("block_of", "judge"), [
    # crumbs that are joined to a value of 64 KB
    (lambda i: b"\x82\x86\x01\x01a\x04\x03/%02d" % i + b"\xbe" * 16, lambda fields: judge_request_fields(fields, True)),
    (lambda i: b"\x00\x01a\x02%02d" % i + b"\x82" * 1000, lambda fields: fields),       # a thousand fields
], ids=["crumbs", "fields"])
def test_what_is_remembered_costs_little_whatever_it_expands_to(
    block_of: Callable[[int], bytes], judge: Callable[[Headers], object],
) -> None:
    def work() -> HeaderDecoder:
        decoder = HeaderDecoder()
        decoder.read(LITERAL_COOKIE, None, len)
        for i in range(64):
            decoder.read(block_of(i), True, judge)
        return decoder

    assert memory_of(work) < 256 << 10


def test_nor_does_what_was_encoded() -> None:
    def work() -> HeaderEncoder:
        encoder = HeaderEncoder()
        for i in range(65):
            encoder.encode([(b"a", bytes(bytearray(b"x" * 3900))) for _ in range(i // 2 + 1)] + [(b":method", b"GET")] * (i % 2))
        return encoder

    assert memory_of(work) < 256 << 10


@pytest.mark.parametrize("name", [b"authorization", b"cookie", b"set-cookie"])
def test_secrets_stay_out_of_the_table(name: bytes) -> None:
    encoder = HeaderEncoder()
    first = encoder.encode([(name, b"secret")])
    assert first[0] & 0xF0 == 0x10      # never indexed
    assert encoder.encode([(name, b"secret"), (b"x", b"y")]).startswith(first)


def test_what_the_sender_calls_a_secret_stays_one() -> None:
    """Through decoder, judge and encoder, and also where the very same field went openly before."""
    guesses = [(b"x-api-key", b"guess"), (b"accept", b"guess")]
    secrets = [hpack.NeverIndexedHeaderTuple(*guess) for guess in guesses]
    head = HeaderDecoder().read(hpack.Encoder().encode([*GET, *secrets]), True, lambda found: judge_request_fields(found, True))
    encoder, reader = HeaderEncoder(), hpack.Decoder()
    reader.decode(encoder.encode(guesses), raw=True)
    sent = reader.decode(encoder.encode(request_fields(head, b"a.test", [], b"http")), raw=True)
    assert [field for field in sent if type(field) is hpack.NeverIndexedHeaderTuple and field[0] != b":path"] == guesses


def test_the_peers_table_is_obeyed_and_ours_stays_small() -> None:
    encoder = HeaderEncoder()
    encoder.encode([(b"a", b"b")])
    encoder.limit_table([0, 1 << 32])
    data = encoder.encode([(b"a", b"b")])
    assert data.startswith(b"\x20\x3f\xe1\x1f")     # 0, then 4096
    reader = hpack.Decoder()
    assert fields_of(reader.decode(data, raw=True)) == [(b"a", b"b")]


def test_limits_that_flip_a_thousand_times_are_told_in_two_words() -> None:
    encoder = HeaderEncoder()
    for size in range(1000):
        encoder.limit_table([size, 1 << 20])
    assert len(encoder.encode([(b":method", b"GET")])) < 10


@given(st.lists(st.tuples(st.sampled_from([b"a", b"date", b"x-b"]), st.binary(max_size=3000)), max_size=200))
def test_what_fills_the_table_pushes_out_the_oldest(fields: Headers) -> None:
    """Many fields, few of them equal, each in a block of its own and again in the next: as the library reads them, whatever is evicted."""
    encoder, judge = HeaderEncoder(), hpack.Decoder()
    for field in fields:
        for _ in range(2):
            assert fields_of(judge.decode(encoder.encode([field]), raw=True)) == [field]


@given(
    st.lists(st.tuples(st.sampled_from([b"server", b"x-a", b"x-b"]), st.binary(max_size=20)), min_size=1, max_size=5), st.integers(1, 200)
)
def test_a_block_that_adds_the_same_for_ever(added: Headers, after: int) -> None:
    """Once it changes nothing any more it is not even added; whoever refers to the table then finds what the library finds."""
    block = b"".join(b"\x40" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in added)
    refer = b"\xbe\xbf\xc0" if after * len(added) > 3 else b"\xbe"
    decoder, judge = HeaderDecoder(), hpack.Decoder()
    for _ in range(2):
        for _ in range(after):
            assert decoder.read(block, None, fields_of) == fields_of(judge.decode(block, raw=True)) == added
        for other in (refer, b"\x40\x01o\x01o", refer):
            assert decoder.read(other, None, fields_of) == fields_of(judge.decode(other, raw=True))
