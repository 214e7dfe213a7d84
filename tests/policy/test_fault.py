import random
from collections import Counter

import pytest

from sidecar.model.route import Fault
from sidecar.policy.fault import Drawn, draw


@pytest.mark.parametrize(("fault", "drawn"), [
    (Fault(), Drawn(0.0, None)),
    (Fault(2.0), Drawn(2.0, None)),
    (Fault(2.0, 0), Drawn(0.0, None)),
    (Fault(abort_status=503), Drawn(0.0, 503)),
    (Fault(abort_status=503, abort_percent=0), Drawn(0.0, None)),
    (Fault(2.0, abort_status=429), Drawn(2.0, 429)),
])
def test_all_or_none(fault: Fault, drawn: Drawn) -> None:
    rng = random.Random(1)
    assert {draw(fault, rng) for _ in range(200)} == {drawn}


def test_each_for_its_share() -> None:
    rng = random.Random(1)
    drawn = Counter(draw(Fault(1.0, 20, 503, 50), rng) for _ in range(10_000))
    delayed = sum(count for one, count in drawn.items() if one.delay_s)
    aborted = sum(count for one, count in drawn.items() if one.abort_status)
    assert abs(delayed - 2_000) < 200
    assert abs(aborted - 5_000) < 250
    assert len(drawn) == 4      # all combinations: the two are drawn apart
