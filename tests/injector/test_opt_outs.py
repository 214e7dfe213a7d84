from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.cluster import Cluster
from injector.compile.mesh import mesh_settings
from injector.opt_outs import config_map, opt_outs

from .pods import mesh_policy


def _found(*policies: dict[str, Any], roots: str = "PEM") -> dict[str, str]:
    return opt_outs(Cluster.of(policies).mesh_policies, roots)


def selected(text: str, namespace: str, labels: dict[str, str]) -> str | None:
    """As the backstop reads it, in Python."""
    for line in text.split("\n"):
        where, wanted, *allowed = [*line.split("\t"), "", ""][:3]
        if "\t" not in line or (where and namespace not in where.split(",")):
            continue
        if not wanted or all(labels.get(pair.split("=")[0]) == pair.split("=")[1] for pair in wanted.split(",")):
            return allowed[0]
    return None


def test_without_policies_nothing_is_allowed() -> None:
    assert _found() == {"optOut": "", "udp": "", "exclusions": "", "roots": "PEM"}


def test_each_setting_has_its_lines_the_most_specific_first() -> None:
    found = _found(
        mesh_policy("a", optOut=False), mesh_policy("b", selector={"namespaces": ["shop", "till"]}, optOut=True),
        mesh_policy("c", selector={"matchLabels": {"app": "x", "a.example/b": ""}}, udp=[{"cidr": "10.0.0.0/8", "ports": [123, 514]}]),
        mesh_policy("d", exclusions={"inboundPorts": [9100], "outboundPorts": [5432], "outboundCidrs": ["203.0.113.0/24"]}),
    )
    assert found["optOut"] == "shop,till\t\ttrue\n\t\tfalse\n"
    assert found["udp"] == "\ta.example/b=,app=x\t--allow-udp 10.0.0.0/8:123,--allow-udp 10.0.0.0/8:514\n"
    assert found["exclusions"] == (
        "\t\t--exclude-inbound 9100,--exclude-outbound-port 5432,--exclude-outbound 203.0.113.0/24\n"
    )


def test_a_policy_that_allows_nothing_ends_what_a_wider_one_allows() -> None:
    wider = mesh_policy("a", udp=[{"cidr": "10.0.0.0/8", "ports": [123]}])
    found = _found(wider, mesh_policy("b", selector={"namespaces": ["shop"]}, udp=[]))
    assert found["udp"].split("\n")[0] == "shop\t\t"


@pytest.mark.parametrize("word", ["a,b", "a\tb", "a\nb", "a=b", "ä", " "])
def test_a_selector_that_nobody_answers_to_cannot_write_a_line(word: str) -> None:
    for selector in ({"namespaces": [word]}, {"matchLabels": {word: "x"}}, {"matchLabels": {"x": word}}):
        assert _found(mesh_policy(selector=selector, optOut=True))["optOut"] == ""


names = st.sampled_from(["shop", "till", "bank"])
labels = st.dictionaries(st.sampled_from(["app", "team"]), st.sampled_from(["x", "y"]))
policies = st.lists(st.tuples(st.lists(names, max_size=2, unique=True), labels, st.sampled_from([True, False, None])), max_size=5)


@given(policies, names, labels)
def test_the_lines_say_what_the_policies_say(specs: list[tuple[list[str], dict[str, str], bool | None]], where: str,
                                             its: dict[str, str]) -> None:
    found = Cluster.of([
        mesh_policy(f"p{i}", selector={"namespaces": spaces, "matchLabels": wanted}, **({} if said is None else {"optOut": said}))
        for i, (spaces, wanted, said) in enumerate(specs)
    ]).mesh_policies
    assert (selected(opt_outs(found, "")["optOut"], where, its) == "true") == mesh_settings(found, where, its).opt_out


def test_each_revision_has_its_own() -> None:
    path, found = config_map({}, "PEM")
    assert path == "/api/v1/namespaces/bartizan-system/configmaps/bartizan-opt-outs"
    assert (found["metadata"]["name"], found["data"]["roots"]) == ("bartizan-opt-outs", "PEM")
    assert config_map({}, "", "b")[0].endswith("/bartizan-opt-outs-b")
