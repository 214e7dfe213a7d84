from injector.compile.conditions import Cause, Condition, condition


def test_a_condition_holds_where_nothing_is_wrong_and_says_everything_where_something_is() -> None:
    assert condition("Accepted", []) == Condition("Accepted", True, "Accepted")
    told = condition("ResolvedRefs", [Cause("InvalidKind", "one"), Cause("BackendNotFound", "two"), Cause("InvalidKind", "one")])
    assert told == Condition("ResolvedRefs", False, "InvalidKind", "one; two")
    assert Condition("Accepted", False, "X", "a\nb" + 2000 * "x").as_json()["message"].startswith("a\\nbxxx")
    assert len(Condition("Accepted", False, "X", 2000 * "x").as_json()["message"]) == 1024
