from injector.audit.tally import Tally


def test_keys_beyond_the_most_are_counted_as_one() -> None:
    tally: Tally[str, list[str]] = Tally(lambda key: [key], "rest", 2)
    for key in ("a", "b", "c", "a", "d"):
        tally.at(key).append("+")
    assert tally.found == {"a": ["a", "+", "+"], "b": ["b", "+"], "rest": ["rest", "+", "+"]}
    assert tally.values() == [["a", "+", "+"], ["b", "+"], ["rest", "+", "+"]]
