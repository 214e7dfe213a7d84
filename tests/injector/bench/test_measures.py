from injector.bench.measures import MEASURES


def test_labels_tell_them_apart() -> None:
    labels = [measure.label for measure in MEASURES.values()]
    assert len(set(labels)) == len(labels)


def test_what_is_better_when_it_is_more_is_no_ratio_to_be_read_the_other_way_round() -> None:
    assert not any(measure.has_ratio for measure in MEASURES.values() if measure.better == "more")
