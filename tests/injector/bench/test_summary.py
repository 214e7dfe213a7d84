import pytest

from injector.bench.summary import medians, ratios, spread


def test_medians_of_what_every_round_has() -> None:
    assert medians([{"a": 1, "b": 5}, {"a": 9, "b": 6}, {"a": 2}]) == {"a": 2}
    assert medians([]) == {}


def test_ratios_are_paired_by_round() -> None:
    """In the second round the machine was three times as slow for both: the ratio does not show it."""
    assert ratios([{"a": 2}, {"a": 6}, {"a": 2.2}], [{"a": 1}, {"a": 3}, {"a": 1}]) == {"a": 2}


def test_no_ratio_without_the_reference() -> None:
    assert ratios([{"a": 2}], []) == {}
    assert ratios([{"a": 2, "b": 1}], [{"a": 0, "b": 2}]) == {"b": 0.5}


def test_no_ratio_to_latency_that_was_gained() -> None:
    """What is added to a way may come out negative, by chance."""
    assert ratios([{"a": 2}], [{"a": -0.1}]) == {}
    assert ratios([{"a": -0.1}], [{"a": 1}]) == {"a": -0.1}


def test_spread() -> None:
    assert spread([10.0, 9.0, 12.0]) == pytest.approx(0.3)
    assert spread([4.0]) == spread([0.0, 0.0]) == 0
