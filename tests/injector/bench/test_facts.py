from injector.bench.facts import cpu_model, machine, versions
from injector.bench.proxies import PROXIES


def test_the_model_of_the_processor() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t: fpu\n") == "AMD EPYC 7B13"
    assert cpu_model("processor : 0\n")


def test_every_version_has_its_place() -> None:
    found = versions()
    assert {proxy.name for proxy in PROXIES} | {"wrk", "h2load", "python", "trio", "msgspec"} <= set(found)
    assert found["python"]
    assert machine()["memory_mb"] > 100
