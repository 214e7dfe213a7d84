import pytest

from injector.bench.errors import NotAvailable
from injector.bench.load import Load, h2load_argv, h2load_once_argv, pace, percentile, read_h2load, read_wrk, wrk_argv
from tests.injector.bench.support import H2LOAD, WRK

LOG = [f"1700000000000000\t200\t{time}\n" for time in (400, 100, 300, 200)]


def test_wrk_is_read_with_its_units() -> None:
    assert read_wrk(WRK) == Load(62394, 31176.18, 990.0, 2190.0)
    assert read_wrk(WRK.replace("2.19ms", "812.00us").replace("0.99ms", "1.20s")) == Load(62394, 31176.18, 1.2e6, 812.0)


@pytest.mark.parametrize("line", [
    "  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 12\n",
])
def test_a_run_with_failures_is_no_result(line: str) -> None:
    with pytest.raises(NotAvailable, match=line.strip()[:20]):
        read_wrk(WRK.replace("Requests/sec", line + "Requests/sec"))


@pytest.mark.parametrize("text", [
    "", "unable to connect to 10.9.1.2:8080 Connection refused\n", WRK.replace("62394 requests", "0 requests"),
    WRK.replace("     99%", "     98%"),
])
def test_what_is_not_understood_is_no_result(text: str) -> None:
    with pytest.raises(NotAvailable):
        read_wrk(text)


def test_h2load_is_read_with_its_log() -> None:
    assert read_h2load(H2LOAD, LOG) == Load(51386, 25693.0, 200, 400)


@pytest.mark.parametrize(("text", "log"), [
    (H2LOAD.replace("0 failed", "2 failed"), LOG), (H2LOAD.replace("0 errored", "1 errored"), LOG),
    (H2LOAD.replace("51386 succeeded", "0 succeeded"), LOG), ("", LOG), (H2LOAD, []),
])
def test_h2load_that_failed_is_no_result(text: str, log: list[str]) -> None:
    with pytest.raises(NotAvailable):
        read_h2load(text, log)


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (0.5, 1)])
def test_percentiles_by_nearest_rank(percent: float, value: float) -> None:
    assert percentile(range(1, 101), percent) == value
    assert percentile([7], percent) == 7


def test_command_lines() -> None:
    assert wrk_argv("http://h/", 32, 0.4)[:4] == ["wrk", "-t1", "-c32", "-d1s"]
    argv = h2load_argv("http://h/", connections=8, streams=1, seconds=5, log="l", is_http1=True, fields=["te: trailers"], body="b")
    assert argv == ["h2load", "--h1", "-c8", "-m1", "-D5000ms", "--header=te: trailers", "--data=b", "--log-file=l", "http://h/"]
    assert h2load_argv("u", connections=4, streams=32, seconds=0.5, log="l") == ["h2load", "-c4", "-m32", "-D500ms", "--log-file=l", "u"]
    assert wrk_argv("u", 1, 1, script="w.lua")[-3:] == ["-s", "w.lua", "u"]


def test_connections_rest_so_long_that_all_together_ask_at_the_rate() -> None:
    """On average half of the longest rest, in ms."""
    assert pace(32, 1000) == "function delay() return math.random(0, 64) end\n"
    assert "(0, 160)" in pace(8, 100)


def test_what_leaves_is_asked_for_by_name() -> None:
    assert wrk_argv("http://192.0.2.1/", 8, 2, "a.example")[-3:] == ["-H", "Host: a.example", "http://192.0.2.1/"]
    assert "-H" not in wrk_argv("http://192.0.2.1/", 8, 2)
    assert h2load_once_argv("http://192.0.2.1/", "a.example")[-3:] == ["--h1", "--header=:authority: a.example", "http://192.0.2.1/"]
    assert "--h1" not in h2load_once_argv("http://192.0.2.1/")
