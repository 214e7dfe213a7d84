from injector.acknowledged import MOST_WORDS, Acknowledged, Word
from injector.cluster import Cluster
from sidecar.model.worker import Worker


def test_the_latest_word_counts_until_the_pod_is_gone() -> None:
    memory = Acknowledged()
    memory.note("u-1", "a", "", 1.0, 9.0)
    memory.note("u-1", "b", "why", 2.0)
    assert memory.of("u-1") == Word("b", "why", 2.0, 0.0)
    assert memory.of("u-2") is None
    memory.forget_gone(Cluster.of([{"kind": "Pod", "metadata": {"name": "w", "namespace": "shop", "uid": "u-1"}}]))
    assert memory.of("u-1") is not None
    memory.forget_gone(Cluster.of([]))
    assert memory.of("u-1") is None


def test_a_sidecars_reason_takes_no_more_room_than_others() -> None:
    memory = Acknowledged()
    memory.note("u-1", "", "x" * 100_000, 1.0)
    word = memory.of("u-1")
    assert word is not None
    assert len(word.refused) == MOST_WORDS


def test_of_several_processes_the_worst_word_is_told() -> None:
    memory = Acknowledged()
    memory.note("u-1", "b", "", 2.0, worker=Worker(1, 2))
    memory.note("u-1", "a", "", 1.0, worker=Worker(2, 2))
    assert memory.of("u-1") == Word("a", "", 1.0, 0.0)
    memory.note("u-1", "b", "why", 3.0, worker=Worker(1, 2))
    assert memory.of("u-1") == Word("b", "why", 3.0, 0.0)
