from injector.demo.errors import CheckFailed, DemoError, causes


def test_the_causes_of_a_tree_of_groups() -> None:
    first, second = DemoError("a"), CheckFailed("b")
    assert causes(ExceptionGroup("", [first, ExceptionGroup("", [second])])) == [first, second]
    assert causes(first) == [first]
