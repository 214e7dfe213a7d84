from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector import documents
from injector.validate import (
    MOST_ENTRIES,
    MOST_PROBLEMS,
    USER_ANNOTATIONS,
    Invalid,
    Reading,
    annotation_problems,
    name_problems,
    normalised,
    read_annotation,
    read_egress,
    read_endpoints,
    read_policy,
    read_routes,
)

ROUTES = """\
- name: orders-read
  port: 8080
  matches: [{path: {type: PathPrefix, value: /orders}, method: GET}]
  allow: [{serviceAccount: web, namespace: shop}, {serviceAccount: "*"}]
"""
EGRESS = """\
- host: api.partner.example
  tls: {mode: mutual, clientCertificate: {secret: partner}, minVersion: "1.3"}
- host: "*.s3.example.com"
- cidr: 203.0.113.0/24
  ports: [5432]
  protocol: tcp
"""
ENDPOINTS = """\
balancing: {policy: ConsistentHash, hashOn: {header: x-user}}
slowStart: 30s
ejection: off
"""

# The mistakes that are made most, with all that is said of each.
LIKELY = [
    (documents.ROUTES, "- name: a\n  allow: []\n  tiemouts: {request: 3s}",
     'bartizan.dev/routes: line 3: unknown field "tiemouts" in [0]; did you mean "timeouts"?'),
    (documents.ROUTES, "- name: a\n  allow: []\n  timeouts: {request: 3}",
     "bartizan.dev/routes: line 3: [0].timeouts.request: expected a duration such as 3s, 500ms or 1m30s"),
    (documents.ROUTES, "- name: a\n  matches: [{path: /a}]\n  allow: []",
     "bartizan.dev/routes: line 2: [0].matches[0].path: expected fields (value, type), got text"),
    (documents.ROUTES, "- {name: a, allow: [], matches: [{path: {type: Prefix, value: /a}}]}",
     'bartizan.dev/routes: line 1: [0].matches[0].path.type: "Prefix" is not valid; did you mean "PathPrefix"?'),
    (documents.ROUTES, "- {name: a, allow: [], matches: [{method: get}]}",
     "bartizan.dev/routes: line 1: [0].matches[0].method: expected a method in capitals, such as GET"),
    (documents.ROUTES, "- name: a\n  allow: [web]",
     "bartizan.dev/routes: line 2: [0].allow[0]: expected fields (serviceAccount, namespace, identity, source, claims), got text"),
    (documents.ROUTES, "- name: a",
     'bartizan.dev/routes: line 1: the field "allow" is missing in [0]'),
    (documents.ROUTES, "- {name: a, allow: [], requestHeaders: {set: {x-forwarded-for: a}}}",
     'bartizan.dev/routes: line 1: [0].requestHeaders.set.x-forwarded-for: "x-forwarded-for" is the mesh\'s own, written anew for every '
     "message; no rule may set, add or remove it"),
    (documents.ROUTES, "- {name: a, allow: [], backends: [{service: orders-v2.shop, port: 80}]}",
     "bartizan.dev/routes: line 1: [0].backends[0].service: 'orders-v2.shop' is no name of a Service; write the plain name of one in the "
     "pod's own namespace"),
    (documents.ROUTES, "- {name: a, allow: [{source: 10.0.0.1/8}]}",
     "bartizan.dev/routes: line 1: [0].allow[0].source: '10.0.0.1/8' has bits set behind its prefix; did you mean 10.0.0.0/8?"),
    (documents.ROUTES, "- {name: a, allow: [{claims: {role: admin}}]}",
     "bartizan.dev/routes: line 1: [0].allow[0].claims[...]: expected a list, got text"),
    (documents.ROUTES, "- {name: a, allow: [], retries: {on: [5xx]}}",
     'bartizan.dev/routes: line 1: [0].retries.on[0]: "5xx" is not valid; known here: 409, 429, 500, 502, 503, 504, connect-failure, '
     "refused-stream, reset, timeout"),
    (documents.ENDPOINTS, "balancing: {policy: RoundRobbin}",
     'bartizan.dev/endpoints: line 1: balancing.policy: "RoundRobbin" is not valid; did you mean "RoundRobin"?'),
    (documents.ENDPOINTS, "slowStart: 30s\nballancing: {}",
     'bartizan.dev/endpoints: line 2: unknown field "ballancing"; did you mean "balancing"?'),
    (documents.PORTS, "5432: tcp",
     'bartizan.dev/ports: line 1: 5432: "tcp" is no protocol; known here: app-tls, http, http1, http2, opaque'),
]


@pytest.mark.parametrize(("name", "text", "message"), LIKELY)
def test_the_likely_mistakes_word_for_word(name: str, text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_annotation(name, text)
    assert str(caught.value) == message


def test_routes() -> None:
    route = read_annotation(documents.ROUTES, ROUTES)["orders-read"]
    assert isinstance(route, documents.RouteRule)
    assert route.port == 8080
    assert [(caller.service_account, caller.namespace) for caller in route.allow] == [("web", "shop"), ("*", None)]


def test_egress() -> None:
    found = read_annotation(documents.EGRESS, EGRESS)
    assert list(found) == ["api.partner.example", "*.s3.example.com", "203.0.113.0/24"]
    assert found["203.0.113.0/24"] == documents.RangeRequest("203.0.113.0/24", (5432,))


def test_ports() -> None:
    found = read_annotation(documents.PORTS, "5432: opaque\n8080: http\n1: http1\n2: http2\n3: app-tls")
    assert found == {"5432": "opaque", "8080": "http", "1": "http1", "2": "http2", "3": "app-tls"}


def test_endpoints() -> None:
    found = read_annotation(documents.ENDPOINTS, ENDPOINTS)
    assert list(found) == ["balancing", "slowStart", "ejection"]
    assert found["ejection"] == documents.EndpointsRule(ejection="off")


@pytest.mark.parametrize(("name", "text"), [
    (documents.ROUTES, ROUTES), (documents.EGRESS, EGRESS), (documents.PORTS, "1: http"), (documents.ENDPOINTS, ENDPOINTS),
])
def test_normalised_text_reads_to_the_same_and_is_stable(name: str, text: str) -> None:
    once = normalised(name, text)
    assert read_annotation(name, once) == read_annotation(name, text)
    assert normalised(name, once) == once
    msgspec.json.decode(once)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (documents.ROUTES, "- name: a\n  allow: []\n  mathces: []",
         'bartizan.dev/routes: line 3: unknown field "mathces" in [0]; did you mean "matches"?'),
        (documents.ROUTES, "- name: a\n  allow:\n  - serviceAcount: x",
         'bartizan.dev/routes: line 3: unknown field "serviceAcount" in [0].allow[0]; did you mean "serviceAccount"?'),
        (documents.ROUTES, "- allow: []", 'bartizan.dev/routes: line 1: the field "name" is missing in [0]'),
        (documents.ROUTES, "- {name: a, allow: [], matches: [{path: {type: Prefix, value: /a}}]}",
         'bartizan.dev/routes: line 1: [0].matches[0].path.type: "Prefix" is not valid; did you mean "PathPrefix"?'),
        (documents.ROUTES, "- {name: a, allow: [], port: 99999}", "[0].port: expected a whole number <= 65535"),
        (documents.ROUTES, "- {name: a, allow: [], port: 15006}", "15006 is a port of the sidecar"),
        (documents.ROUTES, "- {name: a, allow: []}\n- {name: a, allow: []}", 'line 2: [1].name: "a" is there twice'),
        (documents.ROUTES, "- {name: a, allow: [], matches: [{path: {value: /a/../b}}]}",
         "line 1: [0].matches[0].path.value: '/a/../b' is no path that is let through: dot segment in the path"),
        (documents.ROUTES, "- {name: a, allow: [], matches: [{path: {value: '/a?b'}}]}", "is no path that is let through: ? or #"),
        (documents.ROUTES, "- {name: a, allow: [{serviceAccount: 'w*b'}]}", "write one * at most, at the beginning or at the end"),
        (documents.ROUTES, "- {name: 3, allow: []}", "[0].name: expected text; put it in quotes"),
        (documents.ROUTES, "- {name: a, allow: [], requestHeaders: {set: {x y: a}}}",
         "expected the name of a header field, such as x-user"),
        (documents.ROUTES, "- {name: a, allow: [], maxBody: 1 MB}", "expected a size such as 1MiB, 64KiB or a number of bytes"),
        (documents.ROUTES, "- {name: a, allow: [], retries: {methods: all}}", '"all" is not valid; known here: any, or a list'),
        (documents.ENDPOINTS, "- a", "expected fields, such as"),
        (documents.ENDPOINTS, "ejection: of", 'ejection: "of" is not valid; known here: off'),
        (documents.ENDPOINTS, "ejection: {fro: 3s}", 'unknown field "fro" in ejection; known here: failures, for, mostPercent'),
        (documents.ENDPOINTS, "balancing: {policy: ConsistentHash}", "balancing.policy: ConsistentHash needs `hashOn`"),
        (documents.ENDPOINTS, "connectTimeout: 0s", "connectTimeout: 0s is no time at all; leave connectTimeout out"),
        (documents.ROUTES, "- {name: a, allow: [], matches: [{method: TRACE}]}", "TRACE is never forwarded"),
        (documents.ROUTES, "name: a", "expected a list"),
        (documents.EGRESS, "- host: '*'", "is no host name"),
        (documents.EGRESS, "- host: 'a*.example.com'", "is no host name"),
        (documents.EGRESS, "- host: '*.com'", "top-level domain"),
        (documents.EGRESS, "- host: 10.0.0.1", "write `cidr: 10.0.0.1/32`"),
        (documents.EGRESS, "- host: API.example.com", "lower case"),
        (documents.EGRESS, "- host: https://a.example.com", "without scheme"),
        (documents.EGRESS, "- host: a.example.com.", "without the dot"),
        (documents.EGRESS, "- host: a.example.com\n  tls:\n    startTls: smtp", "line 3: [0].tls.startTls: it is asked for"),
        (documents.EGRESS, "- {host: a.example.com, tls: {clientCertificate: {secret: x}}}", "write `mode: mutual`"),
        (documents.EGRESS, "- {host: a.example.com, ports: {plain: [80], tls: [80]}}", "80 is both plain and tls"),
        (documents.EGRESS, "- cidr: 10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        (documents.EGRESS, "- cidr: all", "is no range of addresses"),
        (documents.EGRESS, "- {hots: a}", 'did you mean "host"?'),
        (documents.EGRESS, "- {host: a.example.com}\n- {host: a.example.com}", "line 2"),
        (documents.PORTS, "5432: opaqe", 'did you mean "opaque"?'),
        (documents.PORTS, "80: http\n0080: http", 'line 2: "0080" is no port'),
        (documents.PORTS, "- 80", "expected ports"),
    ],
)
def test_a_mistake_is_named_with_line_field_and_cure(name: str, text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_annotation(name, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{name}: line ")


def test_one_mistake_takes_no_other_rule_away() -> None:
    reading = read_routes("- {name: a, allow: []}\n- {name: b, alow: []}\n- {name: c, allow: []}\n- 3\n")
    assert list(reading.entries) == ["a", "c"]
    assert reading.broken == {"b"}
    assert len(reading.problems) == 2
    assert read_routes("- [").broken is None


def test_each_field_of_endpoints_stands_for_itself() -> None:
    reading = read_endpoints("slowStart: soon\nconnectTimeout: 2s\nlimits: {connection: 3}")
    assert list(reading.entries) == ["connectTimeout"]
    assert reading.broken == {"slowStart", "limits"}
    assert len(reading.problems) == 2


def test_of_two_entries_of_one_name_the_first_counts() -> None:
    reading = read_egress("- {host: a.example.com, ports: {plain: [81]}}\n- {host: a.example.com}")
    entry = reading.entries["a.example.com"]
    assert isinstance(entry, documents.HostRequest)
    assert entry.ports.plain == (81,)
    assert reading.problems


@pytest.mark.parametrize("read", [read_routes, read_egress])
def test_an_annotation_has_so_many_entries_and_mistakes_are_looked_for_so_long(read: Callable[[str], Reading[Any]]) -> None:
    """To explain a mistake takes time, and everybody's admission waits meanwhile."""
    many = read("- {}\n" * (MOST_ENTRIES + 1))
    assert [problem.text for problem in many.problems] == [f"{MOST_ENTRIES + 1:,} entries are more than the {MOST_ENTRIES:,} that are read"]
    wrong = read("- {}\n" * MOST_ENTRIES)
    assert len(wrong.problems) == MOST_PROBLEMS + 1
    assert wrong.problems[-1].text == "there may be more mistakes; correct these first"
    assert (many.entries, many.broken, wrong.entries, wrong.broken) == ({}, None, {}, None)
    assert len(read_egress("".join(f"- host: h{number}.example\n" for number in range(MOST_ENTRIES))).entries) == MOST_ENTRIES


def test_wrong_names_are_looked_for_so_long() -> None:
    labels = {f"bartizan.dev/x{number}": "" for number in range(10 * MOST_PROBLEMS)}
    assert len(name_problems({}, labels)) == MOST_PROBLEMS


def test_unknown_names_are_refused_with_the_nearest() -> None:
    labels = {"bartizan.dev/inject": "", documents.INJECTION: "enable"}
    problems = name_problems({"bartizan.dev/rotues": "", "other/x": ""}, labels)
    assert [str(problem) for problem in problems] == [
        'bartizan.dev/rotues: there is no such annotation; did you mean "bartizan.dev/routes"?',
        'bartizan.dev/inject: there is no such label; did you mean "bartizan.dev/injection"?',
        'bartizan.dev/injection: "enable" is not valid; did you mean "enabled"?',
    ]
    assert "write it among the annotations" in str(name_problems({}, {documents.ROUTES: "x"})[0])


def test_an_annotation_that_is_no_text() -> None:
    assert "text" in str(annotation_problems({documents.ROUTES: 3})[0])


def test_a_rule_that_an_opaque_port_never_reaches() -> None:
    def problems(port: int, **besides: str) -> list[str]:
        routes = f"- {{name: a, allow: [], port: {port}, matches: [{{method: GET}}]}}"
        others = {f"bartizan.dev/{key}": text for key, text in besides.items()}
        return [str(one) for one in annotation_problems({documents.ROUTES: routes, **others})]

    assert problems(8080) == problems(5432, ports="5432: http") == []
    assert 'bartizan.dev/routes: "a" has matches, but port 5432 is opaque' in problems(5432)[0]
    assert "port 8080 is app-tls" in problems(8080, ports="8080: app-tls")[0]


def _policy(kind: str, spec: object) -> dict[str, object]:
    return {"apiVersion": documents.API_VERSION, "kind": kind, "metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("EgressPolicy", {"subjects": [{}]}, "EgressPolicy p: spec.subjects[0]: name either"),
        ("EgressPolicy", {"subjects": [{"namespace": "sh*p"}]}, "use namespaceSelector"),
        ("EgressPolicy", {"subjects": [], "hosts": [{"host": "a.example.com", "caBundle": "x"}]}, "holds no certificate"),
        ("EgressPolicy", {"subjects": [], "hosts": [{"host": "a.example.com"}] * 2}, "twice"),
        ("EgressPolicy", {"subjects": [], "ranges": [{"cidr": "10.0.0.1/8"}]}, "did you mean 10.0.0.0/8"),
        ("EgressPolicy", {"subjects": [], "hosts": [{"host": "a.example.com", "minVersion": "1.1"}]}, 'known here: 1.2, 1.3'),
        ("EgressPolicy", {"subject": []}, 'unknown field "subject" in spec; did you mean "subjects"'),
        ("MeshPolicy", {"mtls": {"mode": "permissive"}}, "needs `until`"),
        ("MeshPolicy", {"mtls": {"mode": "permissive", "until": "tomorrow"}}, "spec.mtls.until"),
        ("MeshPolicy", {"mtls": {"mode": "permissive", "until": "2026-12-31T00:00:00"}}, "spec.mtls.until"),
        ("MeshPolicy", {"mtls": {"mode": "strict", "until": "2026-12-31T00:00:00Z"}}, "strict has no end"),
        ("MeshPolicy", {"resolvers": ["dns.example"]}, "no address of a name server"),
        ("MeshPolicy", {"clusterRanges": ["x"]}, "no range"),
        ("MeshPolicy", {"tokenIssuers": [{"issuer": "https://a"}]},
         "spec.tokenIssuers[0]: give its keys, either as `jwks` or by `jwksUri`"),
        ("MeshPolicy", {"tokenIssuers": [{"issuer": "https://a", "jwksUrl": "x"}]}, 'did you mean "jwksUri"'),
        ("MeshPolicy", {"acceptHttp10": "yes"}, "spec.acceptHttp10: expected true or false, got text"),
    ],
)
def test_policies_are_judged(kind: str, spec: object, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_policy(_policy(kind, spec))
    assert message in str(caught.value)


def test_a_valid_mesh_policy() -> None:
    spec = read_policy(_policy("MeshPolicy", {
        "mtls": {"mode": "permissive", "until": "2026-12-31T00:00:00Z"},
        "resolvers": ["10.96.0.10", "10.96.0.10:5353", "[fd00::10]:53"],
    }))
    assert isinstance(spec, documents.MeshPolicySpec)
    assert spec.mtls is not None
    assert spec.mtls.until is not None
    assert spec.mtls.until.timestamp() == 1798675200


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "allow", "host", "tls", "mode", "matches", "path", "value", "cidr", "ports", "plain", "80",
                         "timeouts", "request", "retries", "backends", "balancing", "ejection", "slowStart", "limits", "claims"])
        | st.text(max_size=4), inner, max_size=4,
    ),
    max_leaves=12,
)


@given(st.sampled_from(USER_ANNOTATIONS), st.text() | json_like.map(lambda value: msgspec.json.encode(value).decode()))
def test_any_text_is_parsed_or_invalid(name: str, text: str) -> None:
    try:
        once = normalised(name, text)
    except Invalid:
        assert annotation_problems({name: text})
    else:
        assert normalised(name, once) == once
