"""The connection, either role, with h2 as the other end; each case whole and byte by byte."""

import re

import h2.events
import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.model.message import NO_BODY, BodyKind, Headers
from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.engine import Engine
from sidecar.protocol.http2.events import (
    DataReceived,
    GoneAway,
    RequestReceived,
    RequestRefused,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
    WindowOpened,
)
from sidecar.protocol.http2.frames import LAST_ID, MAX_WINDOW, Code, Setting, render
from tests.helpers.downgrade import BAD, Bad
from tests.helpers.http2 import (
    ENDS,
    GET,
    OK,
    OPENING,
    POST,
    SERVER_OPENING,
    Fed,
    block,
    client,
    data,
    goaways,
    h2_peer,
    headers,
    joined,
    reset,
    resets,
    server,
    split,
)

steps = pytest.mark.parametrize("step", [1, 7, 1 << 20])
TRAILERS: Headers = [(b"grpc-status", b"0")]


# -- with h2


@steps
def test_we_serve_h2(step: int) -> None:
    peer, fed = h2_peer(is_client=True), Fed(Engine(is_server=True), step)
    peer.initiate_connection()
    peer.send_headers(1, GET, end_stream=True)
    peer.send_headers(3, [*POST, (b"content-length", b"5")])
    peer.send_data(3, b"he", pad_length=9)
    peer.send_data(3, b"llo", end_stream=True)
    peer.send_headers(5, [*POST, (b"te", b"trailers")], priority_weight=3, priority_depends_on=1, priority_exclusive=True)
    peer.send_data(5, b"x")
    peer.send_headers(5, TRAILERS, end_stream=True)
    first, third, *parts, fifth, piece, end = fed.feed(peer.data_to_send())
    assert isinstance(first, RequestReceived)
    assert (first.stream, first.head.target, first.head.body, first.is_end) == (1, b"/a", NO_BODY, True)
    assert isinstance(third, RequestReceived)
    assert (third.head.body.length, third.is_end) == (5, False)
    assert parts == [DataReceived(3, b"he", False), DataReceived(3, b"llo", True)]
    assert isinstance(fifth, RequestReceived)
    assert (fifth.head.body.kind, fifth.head.takes_trailers) == (BodyKind.CHUNKED, True)
    assert [piece, end] == [DataReceived(5, b"x", False), TrailersReceived(5, TRAILERS)]

    for sid in (1, 3):
        fed.engine.send_head(sid, OK, is_end=False)
        assert fed.engine.send_data(sid, b"answer", is_end=True) == 6
    fed.engine.send_head(5, OK, is_end=False)
    fed.engine.send_trailers(5, TRAILERS)
    told = peer.receive_data(fed.output())
    assert joined(told) == b"answeranswer"
    assert [event.stream_id for event in told if isinstance(event, h2.events.StreamEnded)] == [1, 3, 5]
    assert [event.headers for event in told if isinstance(event, h2.events.TrailersReceived)] == [TRAILERS]
    assert fed.engine.open_streams == 0


@steps
def test_we_ask_h2(step: int) -> None:
    peer, fed = h2_peer(is_client=False), Fed(Engine(is_server=False), step)
    peer.initiate_connection()
    engine = fed.engine
    one, other = engine.open_stream(b"GET"), engine.open_stream(b"POST")
    engine.send_head(one, GET, is_end=True)
    engine.send_head(other, POST, is_end=False)
    assert engine.send_data(other, b"hello", is_end=False) == 5
    engine.send_trailers(other, TRAILERS)
    asked = peer.receive_data(fed.output())
    assert [sorted(event.headers) for event in asked if isinstance(event, h2.events.RequestReceived)] == [sorted(GET), sorted(POST)]
    assert joined(asked) == b"hello"
    assert [event.stream_id for event in asked if isinstance(event, h2.events.StreamEnded)] == [1, 3]

    peer.send_headers(3, [(b":status", b"103"), (b"link", b"x")])
    peer.send_headers(3, OK)
    peer.send_data(3, b"body", pad_length=3)
    peer.send_headers(3, TRAILERS, end_stream=True)
    peer.send_headers(1, [(b":status", b"204")], end_stream=True)
    hint, head, piece, end, empty = fed.feed(peer.data_to_send())
    assert isinstance(hint, ResponseReceived)
    assert (hint.head.status, hint.is_end) == (103, False)
    assert isinstance(head, ResponseReceived)
    assert (head.stream, head.head.body.kind) == (3, BodyKind.CHUNKED)
    assert [piece, end] == [DataReceived(3, b"body", False), TrailersReceived(3, TRAILERS)]
    assert isinstance(empty, ResponseReceived)
    assert (empty.stream, empty.is_end) == (1, True)
    assert engine.open_streams == 0


def test_our_opening_says_our_limits() -> None:
    asking, serving = split(Engine(is_server=False).take_output()), split(Engine(is_server=True).take_output())
    common = [(Setting.MAX_CONCURRENT_STREAMS, 100), (Setting.MAX_HEADER_LIST_SIZE, 65536)]
    assert list(frames.parse_settings(asking[0][3])) == [(Setting.ENABLE_PUSH, 0), *common]
    assert list(frames.parse_settings(serving[0][3])) == common
    for opening in (asking, serving):
        assert opening[1] == (frames.WINDOW_UPDATE, 0, 0, (262144 - 65535).to_bytes(4, "big"))


def test_a_small_response_is_one_output() -> None:
    fed = server()
    fed.feed(headers(1, GET))
    fed.engine.send_head(1, OK, is_end=False)
    fed.engine.send_data(1, b"ok", is_end=True)
    assert [(kind, flags) for kind, flags, _, _ in split(fed.output())] == [
        (frames.HEADERS, frames.END_HEADERS), (frames.DATA, frames.END_STREAM),
    ]


def test_a_long_head_goes_out_in_pieces() -> None:
    peer, fed = h2_peer(is_client=True), Fed(Engine(is_server=True), 1 << 20)
    peer.initiate_connection()
    peer.send_headers(1, GET, end_stream=True)
    fed.feed(peer.data_to_send())
    long = [*OK, *((b"x", b"y" * 10_000) for _ in range(5))]
    fed.engine.send_head(1, long, is_end=True)
    told = peer.receive_data(fed.output())
    assert [event.headers for event in told if isinstance(event, h2.events.ResponseReceived)] == [long]


# -- malformed, and against the law


@steps
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_head_ends_its_stream_and_no_other(bad: Bad, step: int) -> None:
    fed = server(step)
    told = fed.feed(headers(1, GET), headers(3, bad.fields, 5 if bad.is_end else 4), headers(5, GET))
    assert fed.error is None
    one, found, canary = told
    assert isinstance(one, RequestReceived)
    assert isinstance(canary, RequestReceived)
    assert canary.stream == 5
    if bad.reason is None:
        assert isinstance(found, StreamReset)
        assert (found.stream, found.code, found.is_malformed) == (3, Code.PROTOCOL_ERROR, True)
        assert resets(fed.output()) == [(3, Code.PROTOCOL_ERROR)]
        assert fed.engine.open_streams == 2
    else:
        assert isinstance(found, RequestRefused)
        assert (found.stream, found.reason, found.is_end) == (3, bad.reason, bad.is_end)
        assert resets(fed.output()) == []
        fed.engine.send_head(3, [(b":status", b"400")], is_end=True)


def test_where_there_is_one_host_only_it_is_that_one_whatever_is_said() -> None:
    """On a Unix socket gRPC's core says the socket's path: `tmp%2Fapi.sock`. What is malformed stays so."""
    path, own = (b":authority", b"tmp%2Fapi.sock"), (b":authority", b"localhost")
    fed = Fed(Engine(is_server=True, host=b"localhost"), 1 << 20)
    others = [field for field in GET if field[0] != b":authority"]
    told = fed.feed(OPENING, headers(1, [path, *others]), headers(3, [own, *others]), headers(5, [path, own, *others]), headers(7, GET),
                    headers(9, others))
    one, other, twice, third, none = told
    for found in (one, other, third):
        assert isinstance(found, RequestReceived)
        assert (found.head.host, found.head.port) == (b"localhost", None)
    assert isinstance(twice, StreamReset)
    assert twice.is_malformed
    assert isinstance(none, RequestRefused)
    strict = server().feed(headers(1, [path, *others]))
    assert isinstance(strict[0], RequestRefused)


def test_an_indexed_field_of_a_refused_head_is_known_later() -> None:
    """The table goes on through heads that nobody looks at: of a malformed one, and of one too many."""
    fed, encoder = server(), hpack.Encoder()
    malformed, one_too_many, known = (
        encoder.encode([*GET, *more])
        for more in ([(b"connection", b"x"), (b"x-a", b"1")], [(b"x-b", b"2")], [(b"x-a", b"1"), (b"x-b", b"2")])
    )
    fed.feed(*(headers(sid, POST, 4) for sid in range(1, 199, 2)), render(frames.HEADERS, ENDS, 199, malformed), headers(201, GET))
    told = fed.feed(render(frames.HEADERS, ENDS, 203, one_too_many), reset(201), render(frames.HEADERS, ENDS, 205, known))
    assert resets(fed.output()) == [(199, Code.PROTOCOL_ERROR), (203, Code.REFUSED_STREAM)]
    assert isinstance(told[-1], RequestReceived)
    assert told[-1].head.headers == [(b"x-a", b"1"), (b"x-b", b"2")]


@steps
@pytest.mark.parametrize("pieces", [
    pytest.param([data(1, b"abcdef")], id="more"),
    pytest.param([data(1, b"ab"), data(1, b"cdef", 1)], id="more, in two"),
    pytest.param([data(1, b"abcd", 1)], id="less"),
    pytest.param([data(1, b"", 1)], id="none"),
    pytest.param([data(1, b"abcd"), headers(1, TRAILERS)], id="less, and trailers"),
    pytest.param([data(1, b"abcde"), headers(1, TRAILERS, 4)], id="trailers that do not end it"),
    pytest.param([data(1, b"abcde"), headers(1, [(b":path", b"/b")])], id="a pseudo-header in trailers"),
    pytest.param([data(1, b"abcde"), headers(1, [(b"X", b"b")])], id="a capital in trailers"),
])
def test_a_body_of_another_length(pieces: list[bytes], step: int) -> None:
    fed = server(step)
    told = fed.feed(headers(1, [*POST, (b"content-length", b"5")], 4), *pieces, headers(3, GET))
    assert fed.error is None
    assert next(event for event in told if isinstance(event, StreamReset)).is_malformed
    assert not [event for event in told if isinstance(event, DataReceived) and event.is_end]
    assert isinstance(told[-1], RequestReceived)
    assert resets(fed.output()) == [(1, Code.PROTOCOL_ERROR)]


@steps
def test_trailers_that_may_not_go_on_are_dropped(step: int) -> None:
    fed = server(step)
    told = fed.feed(headers(1, POST, 4), headers(1, [*TRAILERS, (b"host", b"evil"), (b"content-length", b"9")]))
    assert told[-1] == TrailersReceived(1, TRAILERS)


@steps
@pytest.mark.parametrize(("method", "pieces"), [
    (b"GET", [headers(1, [(b":status", b"101")], 4)]),
    (b"GET", [headers(1, [(b":status", b"100")], 5)]),
    (b"GET", [headers(1, [])]),
    (b"GET", [headers(1, [*OK, (b"content-length", b"5")])]),
    (b"GET", [headers(1, [*OK, (b"content-length", b"5")], 4), data(1, b"abcdef", 1)]),
    (b"GET", [headers(1, [*OK, (b"content-length", b"x")], 4)]),
    (b"GET", [headers(1, OK, 4), headers(1, OK, 4)]),
    (b"GET", [data(1, b"abc")]),
    (b"GET", [headers(1, [(b":status", b"103")], 4), data(1, b"abc")]),
    (b"HEAD", [headers(1, [*OK, (b"content-length", b"5")], 4), data(1, b"abcde", 1)]),
    (b"GET", [headers(1, [(b":status", b"204")], 4), data(1, b"a", 1)]),
])
def test_a_bad_response_ends_its_stream_and_no_other(method: bytes, pieces: list[bytes], step: int) -> None:
    fed = client(step)
    for asked in (method, b"GET"):
        fed.engine.send_head(fed.engine.open_stream(asked), GET, is_end=True)
    fed.output()
    told = fed.feed(*pieces, headers(3, OK))
    assert fed.error is None
    bad = next(event for event in told if isinstance(event, StreamReset))
    assert (bad.stream, bad.is_malformed, bad.is_unprocessed) == (1, True, False)
    assert isinstance(told[-1], ResponseReceived)
    assert told[-1].stream == 3
    assert resets(fed.output()) == [(1, Code.PROTOCOL_ERROR)]


# -- what ends the connection


@steps
@pytest.mark.parametrize(("piece", "code"), [
    (data(0, b"a"), Code.PROTOCOL_ERROR),
    (data(9, b"a"), Code.PROTOCOL_ERROR),
    (data(2, b"a"), Code.PROTOCOL_ERROR),
    (reset(9), Code.PROTOCOL_ERROR),
    (reset(0), Code.PROTOCOL_ERROR),
    (render(frames.RST_STREAM, 0, 1, b"\0\0\0"), Code.FRAME_SIZE_ERROR),
    (frames.render_window_update(9, 1), Code.PROTOCOL_ERROR),
    (frames.render_window_update(0, 0), Code.PROTOCOL_ERROR),
    (frames.render_window_update(1, 0), Code.PROTOCOL_ERROR),
    (frames.render_window_update(0, MAX_WINDOW), Code.FLOW_CONTROL_ERROR),
    (render(frames.WINDOW_UPDATE, 0, 0, b"\0\0\0"), Code.FRAME_SIZE_ERROR),
    (render(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    (render(frames.SETTINGS, 0, 0, b"12345"), Code.FRAME_SIZE_ERROR),
    (render(frames.SETTINGS, frames.ACK, 0, b"123456"), Code.FRAME_SIZE_ERROR),
    (frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31}), Code.FLOW_CONTROL_ERROR),
    (frames.render_settings({Setting.MAX_FRAME_SIZE: 16383}), Code.PROTOCOL_ERROR),
    (frames.render_settings({Setting.MAX_FRAME_SIZE: 1 << 24}), Code.PROTOCOL_ERROR),
    (frames.render_settings({Setting.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR),
    (render(frames.PING, 0, 1, b"12345678"), Code.PROTOCOL_ERROR),
    (render(frames.PING, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
    (render(frames.GOAWAY, 0, 1, b"12345678"), Code.PROTOCOL_ERROR),
    (render(frames.GOAWAY, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
    (render(frames.PRIORITY, 0, 0, b"12345"), Code.PROTOCOL_ERROR),
    (render(frames.PRIORITY, 0, 1, b"1234"), Code.FRAME_SIZE_ERROR),
    (render(frames.PRIORITY, 0, 1, b"\0\0\0\x01\0"), Code.PROTOCOL_ERROR),
    (render(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\x02" + block(GET)), Code.PROTOCOL_ERROR),
    (render(frames.HEADERS, 5, 3, b"\x80"), Code.COMPRESSION_ERROR),
    (headers(1, GET), Code.STREAM_CLOSED),
    (data(1, b"a"), Code.STREAM_CLOSED),
])
def test_violations(piece: bytes, code: Code, step: int) -> None:
    """Stream 1 is open, its request complete."""
    fed = server(step)
    fed.feed(headers(1, GET))
    fed.feed(piece)
    assert fed.error is not None
    assert fed.error.code is code
    assert [said for _, said in goaways(fed.output())] == [code]


@pytest.mark.parametrize("piece", [
    headers(1, GET), data(1, b"a"),
])
def test_streams_that_are_over_are_spoken_of_no_more(piece: bytes) -> None:
    fed = server()
    fed.feed(headers(1, GET))
    fed.engine.send_head(1, OK, is_end=True)
    fed.feed(reset(1), frames.render_window_update(1, 5))     # may still be on their way
    assert fed.error is None
    fed.feed(piece)
    assert fed.error is not None
    assert fed.error.code is Code.STREAM_CLOSED


@pytest.mark.parametrize("piece", [
    headers(1, OK), data(1, b"a"), headers(2, OK), frames.render_settings({Setting.ENABLE_PUSH: 1}),
    render(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\x02" + block(GET)),
])
def test_violations_of_a_server(piece: bytes) -> None:
    """What nobody asked for."""
    fed = client()
    fed.feed(piece)
    assert fed.error is not None
    assert goaways(fed.output()) == [(0, fed.error.code)]


# -- resets


@steps
def test_a_stream_that_the_client_gives_up(step: int) -> None:
    fed = server(step)
    assert fed.feed(headers(1, POST, 4), reset(1))[-1] == StreamReset(1, Code.CANCEL, "reset with CANCEL")
    assert fed.engine.open_streams == 0


def test_what_was_on_its_way_to_a_stream_that_we_reset() -> None:
    fed = server()
    fed.feed(headers(1, POST, 4))
    fed.engine.reset(1, Code.NO_ERROR)
    fed.output()
    (told,) = fed.feed(data(1, b"x" * 16384) * 4, headers(1, TRAILERS), reset(1), headers(3, GET))
    assert isinstance(told, RequestReceived)
    assert told.stream == 3


@pytest.mark.parametrize(("code", "is_unprocessed"), [(Code.REFUSED_STREAM, True), (Code.CANCEL, False), (Code.INTERNAL_ERROR, False)])
def test_what_a_server_refuses_may_be_sent_again(code: Code, is_unprocessed: bool) -> None:
    fed = client()
    fed.engine.send_head(fed.engine.open_stream(b"GET"), GET, is_end=True)
    (told,) = fed.feed(reset(1, code))
    assert isinstance(told, StreamReset)
    assert (told.is_unprocessed, told.is_malformed) == (is_unprocessed, False)


def test_a_server_that_has_answered_cannot_refuse() -> None:
    fed = client()
    fed.engine.send_head(fed.engine.open_stream(b"GET"), GET, is_end=True)
    told = fed.feed(headers(1, OK, 4), reset(1, Code.REFUSED_STREAM))[-1]
    assert isinstance(told, StreamReset)
    assert not told.is_unprocessed


def test_the_hundred_and_first_stream_is_refused() -> None:
    fed = server()
    told = fed.feed(*(headers(sid, POST, 4) for sid in range(1, 203, 2)), headers(1, TRAILERS))
    assert len(told) == 101     # a hundred heads, and the trailers
    assert resets(fed.output()) == [(201, Code.REFUSED_STREAM)]
    fed.engine.send_head(1, OK, is_end=True)
    assert len(fed.feed(headers(203, GET))) == 1


# -- windows


def test_credit_comes_as_the_recipe_consumes() -> None:
    fed = server()
    fed.feed(headers(1, POST, 4), data(1, b"x" * 16384) * 3, data(1, b"x" * 16383))
    assert fed.output() == b""
    fed.engine.consumed(1, 32767)
    assert [(kind, sid, frames.parse_word(payload)[0]) for kind, _, sid, payload in split(fed.output())] == [
        (frames.WINDOW_UPDATE, 1, 32767),
    ]
    fed.feed(data(1, b"x" * 16384) * 2)
    assert fed.error is not None
    assert fed.error.code is Code.FLOW_CONTROL_ERROR


def test_the_connection_holds_256_kib_and_no_more() -> None:
    fed = server()
    for sid in range(1, 9, 2):
        fed.feed(headers(sid, POST, 4), data(sid, b"x" * 16384) * 3, data(sid, b"x" * 16383))
    fed.feed(headers(9, POST, 4), data(9, b"1234"))
    assert fed.error is None
    fed.feed(data(9, b"5"))
    assert fed.error is not None
    assert fed.error.code is Code.FLOW_CONTROL_ERROR


def test_what_the_recipe_does_not_see_is_credited_by_itself() -> None:
    """Padding, and bytes of streams that are over: of three megabytes nothing of the connection's window is lost."""
    fed, credit, sent = server(), 0, 0
    padded = data(1, b"\xff" + b"\0" * 16383, frames.PADDED)
    fed.feed(headers(1, POST, 4))
    for sid in range(3, 200, 2):
        lost = data(sid, b"x" * 16384)
        fed.feed(padded[:9] + b"\xff" + b"x" * (16384 - 256) + b"\0" * 255, headers(sid, [*POST, (b"content-length", b"1")], 4), lost, lost)
        fed.engine.consumed(1, 16384 - 256)
        sent += 3 * 16384
        for kind, _, stream, payload in split(fed.output()):
            if kind == frames.WINDOW_UPDATE and not stream:
                credit += frames.parse_word(payload)[0]
    assert fed.error is None
    assert sent - credit < 262144 / 2


def test_we_send_within_both_windows() -> None:
    fed = server()
    fed.feed(headers(1, GET), headers(3, GET))
    for sid in (1, 3):
        fed.engine.send_head(sid, OK, is_end=False)
    body = b"x" * 100_000
    assert fed.engine.send_data(1, body, is_end=True) == 65535
    assert fed.engine.send_data(3, body, is_end=True) == 0
    assert fed.feed(frames.render_window_update(0, 50_000)) == [WindowOpened(0)]
    assert fed.engine.send_data(1, body, is_end=True, start=65535) == 65535      # its own is used up
    assert fed.engine.send_data(3, body, is_end=True) == 50_000
    assert fed.feed(frames.render_window_update(1, 100_000)) == [WindowOpened(1)]
    assert fed.feed(frames.render_window_update(0, 100_000)) == [WindowOpened(0)]
    assert fed.engine.send_data(1, body, is_end=True, start=65535) == 100_000
    assert max(len(payload) for _, _, _, payload in split(fed.output())) == 16384


def test_a_window_that_turns_negative() -> None:
    fed = server()
    fed.feed(headers(1, GET))
    fed.engine.send_head(1, OK, is_end=False)
    assert fed.engine.send_data(1, b"x" * 60_000, is_end=False) == 60_000
    assert fed.feed(frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 0})) == []
    assert fed.engine.send_data(1, b"y", is_end=True) == 0
    assert fed.feed(frames.render_window_update(1, 60_000)) == []    # 0 it is
    assert fed.feed(frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 1})) == [WindowOpened(1)]
    assert fed.engine.send_data(1, b"y", is_end=True) == 1


def test_an_end_without_data_needs_no_window() -> None:
    fed = server()
    fed.feed(frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 0}), headers(1, GET))
    fed.engine.send_head(1, OK, is_end=False)
    assert fed.engine.send_data(1, b"", is_end=True) == 0
    assert fed.engine.open_streams == 0


def test_settings_that_flip_a_thousand_times() -> None:
    fed = server()
    fed.feed(*(headers(sid, GET) for sid in range(1, 200, 2)))
    for sid in range(1, 200, 2):
        fed.engine.send_head(sid, OK, is_end=False)
        fed.engine.send_data(sid, b"x" * 600, is_end=False)
    for flip in range(998):
        value = 0 if flip % 2 else MAX_WINDOW - 1000
        fed.feed(frames.render_settings({
            Setting.INITIAL_WINDOW_SIZE: value, Setting.MAX_FRAME_SIZE: (1 << 24) - 1, Setting.HEADER_TABLE_SIZE: (1 << 32) - 1,
        }))
        fed.output()
    assert fed.error is None
    fed.feed(frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 700}))
    assert fed.engine.send_data(1, b"x" * 200, is_end=True) == 100


def test_an_initial_window_that_lifts_a_stream_over_the_top() -> None:
    fed = server()
    fed.feed(headers(1, GET), frames.render_window_update(1, 1), frames.render_settings({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW}))
    assert fed.error is not None
    assert fed.error.code is Code.FLOW_CONTROL_ERROR


# -- the end


def test_a_drain_waits_until_the_client_has_heard() -> None:
    fed = server()
    fed.feed(headers(1, GET))
    fed.engine.drain()
    fed.engine.drain()
    announced, ping = split(fed.output())
    assert frames.parse_pair(announced[3]) == (MAX_WINDOW, Code.NO_ERROR)
    assert len(fed.feed(headers(3, GET))) == 1      # was on its way: served
    fed.feed(render(frames.PING, frames.ACK, 0, b"another!"))
    assert goaways(fed.output()) == []
    fed.feed(render(frames.PING, frames.ACK, 0, ping[3]))
    assert goaways(fed.output()) == [(3, Code.NO_ERROR)]
    assert fed.feed(headers(5, GET)) == []
    assert resets(fed.output()) == [(5, Code.REFUSED_STREAM)]
    assert not fed.engine.is_drained
    for sid in (1, 3):
        fed.engine.send_head(sid, OK, is_end=True)
    assert fed.engine.is_drained


def test_streams_that_a_goaway_leaves_out_were_not_looked_at() -> None:
    fed = client()
    for _ in range(3):
        fed.engine.send_head(fed.engine.open_stream(b"GET"), GET, is_end=True)
    told = fed.feed(frames.render_goaway(3, Code.NO_ERROR))
    assert [(event.stream, event.is_unprocessed) for event in told if isinstance(event, StreamReset)] == [(5, True)]
    assert told[-1] == GoneAway(Code.NO_ERROR)
    assert fed.engine.is_going_away
    assert len(fed.feed(headers(1, OK), headers(3, OK))) == 2


def test_a_client_that_says_goaway_is_still_served() -> None:
    fed = server()
    assert fed.feed(headers(1, GET), frames.render_goaway(0, Code.NO_ERROR), headers(3, GET))[1] == GoneAway(Code.NO_ERROR)
    assert fed.engine.open_streams == 2


def test_ids_come_to_an_end_long_before_they_are_used_up() -> None:
    fed = server()
    assert len(fed.feed(headers(LAST_ID - 1, GET))) == 1
    assert goaways(fed.output()) == []
    assert len(fed.feed(headers(LAST_ID + 1, GET))) == 1
    assert goaways(fed.output()) == [(MAX_WINDOW, Code.NO_ERROR)]
    asking = client().engine
    asking._last_id = LAST_ID - 3
    assert asking.open_stream(b"GET") == LAST_ID - 1
    assert asking.is_going_away


def test_pings_are_answered() -> None:
    fed = server()
    fed.feed(render(frames.PING, 0, 0, b"12345678"))
    assert split(fed.output()) == [(frames.PING, frames.ACK, 0, b"12345678")]


# -- properties


@settings(max_examples=300)
@given(st.lists(st.one_of(
    st.binary(max_size=60),
    st.builds(
        render, st.integers(0, 10), st.sampled_from([0, 1, 4, 5, 8, 12, 13, 32, 37]), st.sampled_from([0, 1, 1, 1, 2, 3, 5]),
        st.one_of(st.binary(max_size=20), st.just(block(GET)), st.just(block(OK)), st.just(block(TRAILERS))),
    ),
), max_size=12), st.booleans(), st.integers(1, 30))
def test_any_bytes(pieces: list[bytes], is_server: bool, step: int) -> None:
    """Any bytes behind the opening: events or Http2Error, the same ones however they are cut up, and nothing else."""
    sent, outcomes = b"".join(pieces), []
    for size in (1 << 20, step):
        fed = Fed(Engine(is_server=is_server), size)
        if not is_server:
            fed.engine.send_head(fed.engine.open_stream(b"GET"), GET, is_end=False)
        told = fed.feed((OPENING if is_server else SERVER_OPENING) + sent)
        outcomes.append((told if fed.error is None else None, fed.error and fed.error.code, fed.output()))
    assert outcomes[0] == outcomes[1]


NAMES = st.from_regex(rb"x-[a-z0-9-]{0,10}", fullmatch=True)
VALUES = st.from_regex(rb"(?:[!-~]([ -~]{0,20}[!-~])?)?", fullmatch=True)


@given(
    st.sampled_from([b"GET", b"POST", b"PUT", b"OPTIONS", b"PURGE"]),
    st.from_regex(rb"/[a-z0-9/]{0,10}[a-z](?:\?[a-z=&]*)?", fullmatch=True),
    st.lists(st.tuples(NAMES, VALUES), max_size=8), st.one_of(st.none(), st.binary(max_size=200)),
)
def test_we_and_h2_agree_on_well_formed_requests(method: bytes, path: bytes, fields: Headers, body: bytes | None) -> None:
    """A request that h2 sends is to us what it is to h2, head and body."""
    path = re.sub(rb"//+", b"/", path)
    sender, judge, fed = h2_peer(is_client=True), h2_peer(is_client=False), Fed(Engine(is_server=True), 1 << 20)
    sender.initiate_connection()
    fields = [field for field in fields if not field[0].startswith((b"x-forwarded", b"x-bartizan", b"x-envoy", b"x-real-ip"))]
    sender.send_headers(1, [(b":method", method), *GET[1:3], (b":path", path), *fields], end_stream=body is None)
    if body is not None:
        sender.send_data(1, body, end_stream=True)
    sent = sender.data_to_send()
    theirs = judge.receive_data(sent)
    request, *rest = fed.feed(sent)
    assert fed.error is None
    assert isinstance(request, RequestReceived)
    (said,) = (event.headers for event in theirs if isinstance(event, h2.events.RequestReceived))
    assert said == [
        (b":method", request.head.method), *GET[1:2], (b":authority", request.head.host), (b":path", request.head.target),
        *request.head.headers,
    ]
    assert b"".join(event.data for event in rest if isinstance(event, DataReceived)) == joined(theirs) == (body or b"")


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.binary(max_size=200), st.sampled_from([200, 404, 503]))
def test_h2_takes_what_we_send(fields: Headers, body: bytes, status: int) -> None:
    """A response that we send is to h2 what it is to us."""
    peer, fed = h2_peer(is_client=True), Fed(Engine(is_server=True), 1 << 20)
    peer.initiate_connection()
    peer.send_headers(1, GET, end_stream=True)
    fed.feed(peer.data_to_send())
    said = [(b":status", b"%d" % status), *fields]
    fed.engine.send_head(1, said, is_end=False)
    fed.engine.send_data(1, body, is_end=True)
    told = peer.receive_data(fed.output())
    assert [event.headers for event in told if isinstance(event, h2.events.ResponseReceived)] == [said]
    assert joined(told) == body
