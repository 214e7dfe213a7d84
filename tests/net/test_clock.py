import datetime

from sidecar.net.clock import wall_clock


def test_it_is_the_date() -> None:
    assert abs(wall_clock() - datetime.datetime.now(datetime.UTC).timestamp()) < 5
