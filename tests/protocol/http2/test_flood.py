"""Each known flood, with its exact count; and that honest peers stay below."""

from collections.abc import Iterable

import pytest

from sidecar.protocol.http2 import frames
from sidecar.protocol.http2.events import RequestReceived, StreamReset
from sidecar.protocol.http2.flood import CONTROL, CONTROL_PER_S, MAX_QUEUED_BYTES, RESETS, RESETS_PER_S, Budget
from sidecar.protocol.http2.frames import ACK, Code, Http2Error, Setting, render
from tests.helpers.http2 import GET, OK, POST, Fed, client, data, goaways, headers, reset, server

MANY = 10_000
PING = render(frames.PING, 0, 0, b"12345678")


def taken(fed: Fed, pieces: Iterable[bytes], now: float = 0.0) -> int:
    """How many of `pieces` are taken before the connection is ended for a flood."""
    for count, piece in enumerate(pieces):
        fed.feed(piece, now=now)
        if fed.error is not None:
            assert fed.error.code is Code.ENHANCE_YOUR_CALM
            assert goaways(fed.output())[-1][1] == Code.ENHANCE_YOUR_CALM
            return count
        fed.output()
    raise AssertionError("no end to it")


# -- budgets


def test_a_budget() -> None:
    budget = Budget("things", 3, 2)
    for _ in range(3):
        budget.spend(10.0)
    with pytest.raises(Http2Error, match="too many things"):
        budget.spend(10.4)
    budget.earn(2)
    budget.spend(10.4)


def test_a_budget_comes_back_with_time_and_never_exceeds_its_capacity() -> None:
    budget = Budget("things", 3, 2)
    for _ in range(4):
        budget.spend(0.0 if _ < 3 else 100.0)       # 3 at once, and 3 more after a long while
    budget.spend(100.0)
    budget.spend(100.0)
    with pytest.raises(Http2Error):
        budget.spend(100.0)


def test_what_is_earned_is_bounded() -> None:
    budget = Budget("things", 3, 0)
    budget.earn(100)
    for _ in range(3):
        budget.spend(0.0)
    with pytest.raises(Http2Error):
        budget.spend(0.0)


# -- H1, H2: resets


def streams() -> Iterable[int]:
    return range(1, 2 * MANY, 2)


def test_rapid_reset() -> None:
    assert taken(server(), (headers(sid, GET) + reset(sid) for sid in streams())) == RESETS


def test_rapid_reset_in_one_read_shows_each_request_with_its_end() -> None:
    fed = server()
    told = fed.feed(*(headers(sid, GET) + reset(sid) for sid in range(1, 101, 2)))
    assert [type(event) for event in told] == [RequestReceived, StreamReset] * 50


def test_completed_streams_pay_for_cancelled_ones() -> None:
    """One reset a completed stream, as a client does that cancels every other call, goes on for ever."""
    fed = server()
    for sid in range(1, 4 * MANY, 4):
        fed.feed(headers(sid, GET))
        fed.engine.send_head(sid, OK, is_end=True)
        fed.feed(headers(sid + 2, GET) + reset(sid + 2))
        fed.output()
    assert fed.error is None


def test_time_forgives_resets() -> None:
    fed = server()
    for second, sid in enumerate(range(1, 20 * RESETS * 2, 2)):
        fed.feed(headers(sid, GET) + reset(sid), now=second / RESETS_PER_S)
        fed.output()
    assert fed.error is None


@pytest.mark.parametrize("primitive", [
    pytest.param(lambda sid: headers(sid, [*POST, (b"content-length", b"1")], 4) + data(sid, b"ab"), id="more than content-length"),
    pytest.param(lambda sid: headers(sid, POST, 4) + headers(sid, [(b":path", b"/")]), id="malformed trailers"),
    pytest.param(lambda sid: headers(sid, [*GET, (b"connection", b"x")]), id="malformed head"),
    pytest.param(lambda sid: headers(sid, GET) + frames.render_window_update(sid, (1 << 31) - 1), id="window overflow"),
    pytest.param(lambda sid: headers(sid, POST, 4) + headers(sid, POST, 4), id="a second head"),
])
def test_made_you_reset(primitive) -> None:    # type: ignore[no-untyped-def]
    """What makes us reset costs what a reset costs, and they share one account."""
    assert taken(server(), map(primitive, streams())) == RESETS
    mixed = (primitive(sid) if sid & 2 else headers(sid, GET) + reset(sid) for sid in streams())
    assert taken(server(), mixed) == RESETS


@pytest.mark.parametrize("primitive", [
    pytest.param(headers(1, GET) + headers(1, GET), id="HEADERS behind END_STREAM"),
    pytest.param(headers(1, GET) + data(1, b"a"), id="DATA behind END_STREAM"),
    pytest.param(headers(1, GET) + frames.render_window_update(1, 0), id="WINDOW_UPDATE of 0"),
    pytest.param(headers(1, GET) + render(frames.PRIORITY, 0, 1, b"\0\0\0\x01\0"), id="a stream that depends on itself"),
    pytest.param(headers(1, GET) + render(frames.PRIORITY, 0, 1, b"\0\0\0\0"), id="PRIORITY of a wrong size"),
])
def test_made_you_reset_by_frames_ends_the_connection_at_once(primitive: bytes) -> None:
    fed = server()
    fed.feed(primitive)
    assert fed.error is not None


def test_too_many_streams_at_once_are_refused_and_counted() -> None:
    fed = server()
    fed.feed(*(headers(sid, GET) for sid in range(1, 201, 2)))
    assert taken(fed, (headers(sid, GET) for sid in range(201, 2 * MANY, 2))) == RESETS


# -- H4, H5: frames without use


@pytest.mark.parametrize("piece", [
    pytest.param(PING, id="PING"),
    pytest.param(render(frames.PING, ACK, 0, b"12345678"), id="PING ACK"),
    pytest.param(frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 7}), id="SETTINGS"),
    pytest.param(render(frames.SETTINGS, ACK, 0), id="SETTINGS ACK"),
    pytest.param(render(frames.PRIORITY, 0, 1, b"\0\0\0\0\0"), id="PRIORITY"),
    pytest.param(frames.render_window_update(0, 1), id="WINDOW_UPDATE"),
    pytest.param(frames.render_window_update(1, 1), id="WINDOW_UPDATE of a stream"),
    pytest.param(data(1, b""), id="empty DATA"),
    pytest.param(data(1, b"\x07" + b"\0" * 7, frames.PADDED), id="DATA of padding"),
    pytest.param(render(99, 0, 0, b"x"), id="unknown"),
    pytest.param(frames.render_goaway(0, 0), id="GOAWAY"),
])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_frames_without_use(piece: bytes, step: int) -> None:
    fed = server(step)
    fed.feed(headers(1, POST, 4))
    spent = 1       # the client's SETTINGS
    assert taken(fed, (piece for _ in range(MANY))) == CONTROL - spent + 1      # and the stream earned it back


def test_time_forgives_frames() -> None:
    fed = server()
    for count in range(MANY):
        fed.feed(PING, now=count / CONTROL_PER_S)
        fed.output()
    assert fed.error is None


def test_answers_that_nobody_reads() -> None:
    """The reader stopped: 17 bytes for each PING, none of them taken away."""
    fed, count = server(), 0
    while fed.error is None:
        fed.engine._control.earn(1)     # as if it were honest otherwise
        fed.feed(PING)
        count += 1
    assert count == MAX_QUEUED_BYTES // 17 + 1
    assert fed.error.code is Code.ENHANCE_YOUR_CALM


def test_windows_that_are_opened_byte_by_byte_earn_nothing() -> None:
    fed = server()
    fed.feed(frames.render_settings({Setting.INITIAL_WINDOW_SIZE: 0}), headers(1, GET))
    fed.engine.send_head(1, OK, is_end=False)
    body, start = b"x" * MANY, 0

    def dribble() -> Iterable[bytes]:
        nonlocal start
        while True:
            yield frames.render_window_update(1, 1)
            start = fed.engine.send_data(1, body, is_end=True, start=start)

    assert taken(fed, dribble()) <= CONTROL
    assert start <= CONTROL


def test_an_honest_download_is_no_flood() -> None:
    """Two WINDOW_UPDATE and a PING for each DATA frame, for as long as it takes."""
    fed = server()
    fed.feed(headers(1, GET))
    fed.engine.send_head(1, OK, is_end=False)
    for _ in range(MANY):
        assert fed.engine.send_data(1, b"x" * 16384, is_end=False) == 16384
        fed.feed(frames.render_window_update(1, 16384), frames.render_window_update(0, 16384), PING)
        fed.output()
    assert fed.error is None


def test_requests_pay_for_what_goes_with_them() -> None:
    fed = server()
    for sid in range(1, 2 * MANY, 2):
        fed.feed(render(frames.PRIORITY, 0, sid, b"\0\0\0\0\0"), headers(sid, GET), frames.render_window_update(sid, 9), PING)
        fed.engine.send_head(sid, OK, is_end=True)
        fed.output()
    assert fed.error is None


def test_what_comes_for_streams_that_we_reset_is_counted() -> None:
    fed = server()
    fed.feed(headers(1, POST, 4))
    fed.engine.reset(1, Code.INTERNAL_ERROR)
    assert taken(fed, (data(1, b"x") for _ in range(MANY))) == CONTROL


# -- where we ask


def test_a_server_that_resets_is_no_attacker() -> None:
    fed = client()
    for _ in range(1000):
        sid = fed.engine.open_stream(b"GET")
        fed.engine.send_head(sid, GET, is_end=True)
        fed.feed(reset(sid, Code.INTERNAL_ERROR))
        fed.output()
    assert fed.error is None


def test_a_server_that_pings_is() -> None:
    assert taken(client(), (PING for _ in range(MANY))) == CONTROL - 1
