from urllib.parse import parse_qs

import pytest

from sidecar.model.worker import ALONE, MOST_WORKERS, Worker, parse_worker, pod_of


@pytest.mark.parametrize("worker", [Worker(1, 2), Worker(2, 2), Worker(MOST_WORKERS, MOST_WORKERS)])
def test_what_a_query_says_is_read_back(worker: Worker) -> None:
    assert parse_worker(parse_qs(f"pod=u-1{worker.query}")["worker"][0]) == worker


def test_the_only_one_says_nothing() -> None:
    assert ALONE.query == ""
    assert ALONE.chain_of("u-1") == "u-1"


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/17", "17/17", "01/2", "1/2 ", "1/2\n", "-1/2", "٢/٣", "1/2/3"])
def test_what_is_none(text: str) -> None:
    assert parse_worker(text) is None


def test_each_ledger_has_its_name_and_tells_its_pod() -> None:
    names = [Worker(number, 3).chain_of("u-1") for number in (1, 2, 3)]
    assert len(set(names)) == 3
    assert {pod_of(name) for name in names} == {"u-1"}
