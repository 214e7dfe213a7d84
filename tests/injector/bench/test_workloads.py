from injector.bench.workloads import WORKLOADS


def test_names_are_words_for_the_command_line() -> None:
    names = [workload.name for workload in WORKLOADS]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in names)
