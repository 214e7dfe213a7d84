from injector.by_worker import ByWorker
from injector.cluster import Cluster
from sidecar.model.worker import Worker


def test_each_process_has_its_latest_word() -> None:
    words = ByWorker[str]()
    assert words.of("u-1") == (None,)
    words.note("u-1", "a", Worker(2, 2))
    assert words.of("u-1") == (None, "a")
    words.note("u-1", "b", Worker(1, 2))
    words.note("u-1", "c", Worker(2, 2))
    assert words.of("u-1") == ("b", "c")
    assert words.of("u-2") == (None,)


def test_who_is_alone_now_waits_for_none_of_those_before() -> None:
    words = ByWorker[str]()
    words.note("u-1", "a", Worker(2, 2))
    words.note("u-1", "b")
    assert words.of("u-1") == ("b",)


def test_what_the_gone_said_is_forgotten() -> None:
    words = ByWorker[str]()
    words.note("u-1", "a")
    words.forget_gone(Cluster.of([{"kind": "Pod", "metadata": {"name": "w", "namespace": "shop", "uid": "u-1"}}]))
    assert words.of("u-1") == ("a",)
    words.forget_gone(Cluster.of([]))
    assert words.of("u-1") == (None,)
