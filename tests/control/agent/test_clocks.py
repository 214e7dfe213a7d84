"""A clock that is wrong, or that jumps: ours, or also the issuer's."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sidecar.control.agent import RETRY_MOST_S
from sidecar.net.clock import utc_text
from tests.control.agent.support import HOUR_S, SHORT_S, YEAR_S, Fixture


@pytest.mark.parametrize("by", [HOUR_S, -HOUR_S, 10 * YEAR_S, -10 * YEAR_S])
@pytest.mark.parametrize("is_everywhere", [False, True])
async def test_a_jump_of_the_clock_wedges_nothing(
    by: float, is_everywhere: bool, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours alone, or the issuer's too. Afterwards it goes back, and all is as before."""
    fixture = Fixture(nursery, tmp_path)
    nursery.start_soon(fixture.clock.run)
    fixture.answer(fixture.issue(SHORT_S))
    await fixture.wait_taken()
    await trio.sleep(60)
    asked = len(fixture.asked)
    fixture.wrong_by = by
    if is_everywhere:
        fixture.answer(fixture.issue(SHORT_S, off_by=by))
    await trio.sleep(10)
    assert len(fixture.asked) > asked       # past half life, or before the beginning: it is renewed at once
    assert fixture.is_served() == (is_everywhere or by < 0)
    said = capsys.readouterr().err
    assert "the clock was set from" in said
    assert ("NTP" in said) != (is_everywhere and by > 0)
    await trio.sleep(HOUR_S)
    assert fixture.is_served() == (is_everywhere or by < 0)
    fixture.wrong_by = 0
    fixture.answer(fixture.issue(SHORT_S))
    await trio.sleep(RETRY_MOST_S + 10)
    assert fixture.is_served()
    begins = fixture.keyring.credentials.chain[0].not_valid_before_utc.timestamp()      # type: ignore[union-attr]
    assert begins < fixture.wall()
    asked = len(fixture.asked)
    await trio.sleep(HOUR_S)
    assert 20 <= len(fixture.asked) - asked <= 30       # the old rhythm
    assert fixture.is_served()
    assert (fixture.clock.jumps, [entry.kind for entry in fixture.told]) == (2, ["clock", "clock"])


async def test_a_clock_that_is_set_back_does_not_put_the_renewal_off(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By so little that the certificate has begun, and nobody has to tell the agent: the monotonic clock knows when half is over."""
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(SHORT_S))
    await fixture.wait_taken()
    await trio.sleep(100)
    fixture.wrong_by = -150
    await trio.sleep(0.55 * SHORT_S - 100)
    assert len(fixture.asked) == 2


async def test_set_forward_to_less_than_half_life_nothing_is_asked(
    nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    nursery.start_soon(fixture.clock.run)
    fixture.answer(fixture.issue())
    await fixture.wait_taken()
    fixture.wrong_by = 0.2 * HOUR_S
    await trio.sleep(10)
    assert (fixture.clock.jumps, len(fixture.asked)) == (1, 1)
    await trio.sleep(0.35 * HOUR_S)     # half is over sooner by as much
    assert len(fixture.asked) == 2


@pytest.mark.parametrize(("off_by", "is_said"), [(0, False), (50, False), (-50, False), (61, True), (-61, True), (-70, True)])
async def test_the_issuers_clock_tells_how_wrong_ours_is(
    off_by: float, is_said: bool, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(off_by=off_by))
    await fixture.wait_taken()
    await trio.sleep(1)
    assert fixture.agent.gauges()["bartizan_clock_skew_seconds"] == pytest.approx(off_by, abs=0.01)
    said = capsys.readouterr().err
    assert ("the issuer's clock says" in said and "set the clock that is wrong (NTP)" in said) == is_said
    if is_said:
        # It was said up to two seconds ago, which may be a minute ago in words.
        assert any(utc_text(fixture.real() + off_by - ago)[:16] in said for ago in (0, 2))
        assert any(utc_text(fixture.real() - ago)[:16] in said for ago in (0, 2))
    assert fixture.is_served()


@pytest.mark.parametrize(("off_by", "life_s"), [(0, SHORT_S), (70, SHORT_S), (-70, SHORT_S - 70)])
async def test_half_is_half_by_the_clock_for_which_it_ends_sooner(
    off_by: float, life_s: float, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path
) -> None:
    fixture = Fixture(nursery, tmp_path)
    fixture.answer(fixture.issue(SHORT_S, off_by=off_by))
    first = await fixture.wait_taken()
    await fixture.wait_taken(first)
    assert 0.45 * life_s - 2 <= fixture.times[1] <= 0.55 * life_s + 2
