import itertools

from injector.bench.control.objects import Size, addresses_of, objects, wanted_of
from injector.cluster.checked import checked

SIZE = Size(6, 3, 2, 4)


def test_the_second_half_is_what_the_first_lacks() -> None:
    first, second = list(objects(SIZE.half)), list(objects(SIZE, beyond=SIZE.half))
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in (*first, *second)]
    assert len(set(names)) == len(names) == len(list(objects(SIZE)))
    assert len(first) - 2 == len(second)        # two policies are there from the beginning


def test_everything_can_be_read_and_is_as_much_as_was_asked_for() -> None:
    found = [checked(one) for one in objects(SIZE)]
    counts = {kind: sum(one["kind"] == kind for one in found) for kind in ("Namespace", "Service", "EndpointSlice", "Pod", "EgressPolicy")}
    assert counts == {"Namespace": 6, "Service": 18, "EndpointSlice": 18, "Pod": 36, "EgressPolicy": 5}


def test_no_two_pods_have_one_address() -> None:
    size = Size(50, 20, 2, 0)
    found = [addresses_of(team, service, size).values() for team in range(size.namespaces) for service in range(size.services)]
    assert len(set(itertools.chain(*found))) == 2000


def test_wanted_services_are_others_namespaces() -> None:
    assert wanted_of(0, 1, SIZE) == ("app-01.team-001", "app-01.team-002")
    assert wanted_of(0, 1, Size(1, 3, 2, 0)) == ()
