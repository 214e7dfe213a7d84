"""Who is called in a turn, when what is pushed leaves, and whom a bug concerns."""

from collections.abc import Callable

from sidecar.net.turn import Turn


class Asked:
    """A listener that notes when it was called, and a sender."""

    def __init__(self, told: list[str], name: str, then: Callable[[], object] = list) -> None:
        self.told = told
        self.name = name
        self.then = then
        self.bug: Exception | None = None

    def look(self) -> None:
        self.told.append(self.name)
        self.then()

    def crash(self, bug: Exception) -> None:
        self.bug = bug

    def flush(self) -> None:
        self.told.append(f"{self.name} sends")
        self.then()


def on() -> Turn:
    turn = Turn()
    turn.is_on = True
    return turn


def test_each_is_called_once_and_sending_comes_last() -> None:
    told: list[str] = []
    turn, one, two, socket = on(), Asked(told, "one"), Asked(told, "two"), Asked(told, "socket")
    turn.push(socket)
    for listener in (one, two, one):
        turn.tell(listener)
    turn.push(socket)
    assert told == []
    turn.end()
    assert told == ["one", "two", "socket sends"]
    assert not turn.is_on


def test_news_without_a_turn_are_one() -> None:
    told: list[str] = []
    turn = Turn()
    socket = Asked(told, "socket")
    turn.tell(Asked(told, "one", lambda: turn.push(socket)))
    assert told == ["one", "socket sends"]
    assert not turn.is_on


def test_what_comes_of_sending_belongs_to_the_turn() -> None:
    """A connection that breaks tells its exchanges, which may have something to say to others."""
    told: list[str] = []
    turn = on()
    other = Asked(told, "other")
    listener = Asked(told, "one", lambda: turn.push(other))
    turn.push(Asked(told, "broken", lambda: turn.tell(listener)))
    turn.end()
    assert told == ["broken sends", "one", "other sends"]


def test_a_bug_is_the_affair_of_its_own_connection() -> None:
    told: list[str] = []
    turn = on()
    bug = AssertionError("bug")

    def fail() -> None:
        raise bug

    wrong, right = Asked(told, "wrong", fail), Asked(told, "right")
    turn.tell(wrong)
    turn.tell(right)
    turn.end()
    assert wrong.bug is bug
    assert told == ["wrong", "right"]
    assert not turn.is_on


def test_a_bug_in_sending_is_too() -> None:
    """Whoever reads, or looks at the clock, is no part of the connection that sends in its turn."""
    told: list[str] = []
    turn = on()
    bug = AssertionError("bug")

    def fail() -> None:
        raise bug

    wrong, right = Asked(told, "wrong", fail), Asked(told, "right")
    for sender in (right, wrong):
        turn.push(sender)
    turn.end()
    assert wrong.bug is bug
    assert told == ["wrong sends", "right sends"]
    assert not turn.is_on


async def test_there_is_one_for_all_connections() -> None:
    assert Turn.of_this_run() is Turn.of_this_run()
