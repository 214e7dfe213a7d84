"""Users' documents, read and judged once: the webhook, the linter, the directory source and the compiler all come here.

Trust: texts come from whoever may write a pod. What leaves is a value that `documents/` describes and `semantics/` found
nothing wrong with, or problems that name the document, the line inside it, the field and the nearest valid word. Attacked by
tests/injector/test_validate.py (any text: parsed or Invalid).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args

import msgspec

from sidecar.model.errors import MeshError
from sidecar.model.service import Protocol

from . import documents
from .documents import (
    EdgeRule,
    EgressPolicySpec,
    EgressRequest,
    EndpointsRule,
    Exclusions,
    HostRequest,
    MeshPolicySpec,
    RangeRequest,
    RouteRule,
)
from .documents.ports import OPAQUE_PORTS
from .hints import explain, join, nearest
from .semantics.edge import edge_problems
from .semantics.egress import egress_problems
from .semantics.endpoints import endpoints_problems
from .semantics.exclude import exclusions_problems
from .semantics.policies import egress_policy_problems, mesh_policy_problems
from .semantics.routes import opaque_problems, route_problems
from .semantics.text import Complaint
from .yaml_text import Document, YamlError, read_yaml

MOST_ENTRIES = 2000     # of a list
MOST_PROBLEMS = 50      # mistakes that are explained at once

T = TypeVar("T")
Entry = RouteRule | EgressRequest | Protocol | EndpointsRule | Exclusions
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
Complaints = Callable[[T], Iterator[Complaint]]     # what is wrong with a value of the right type


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Args:
        source: the annotation, label or object that holds it.
        text: what is wrong, and the cure.
        line: inside the source, from 1; 0 where there are no lines.
        path: to the field inside the source, where one is to blame.
    """

    source: str
    text: str
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"{self.source}: line {self.line}: {self.text}" if self.line else f"{self.source}: {self.text}"


class Invalid(MeshError):
    """A document is not valid; the text says everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What an annotation says, as far as it can be read.

    Args:
        entries: the valid ones, by what names them: the rule's name, the host or CIDR, the port, the field.
        broken: names of entries that are not valid. None: nothing could be read at all.
        problems: empty exactly if nothing is broken.
        lines: where the entries of a list stand.
    """

    entries: Mapping[str, T]
    broken: frozenset[str] | None
    problems: tuple[Problem, ...]
    lines: Mapping[str, int] = field(default_factory=dict)


def read_annotation(name: str, text: str) -> Mapping[str, Entry]:
    """The entries of a user's annotation, by name. Raises Invalid."""
    reading = _READERS[name](text)
    if reading.problems:
        raise Invalid(reading.problems)
    return reading.entries


def normalised(name: str, text: str) -> str:
    """The annotation as JSON, which reads to the same entries. Raises Invalid."""
    entries = read_annotation(name, text)
    whole: object = list(entries.values())
    if name == documents.PORTS:
        whole = entries
    elif name in (documents.ENDPOINTS, documents.EXCLUDE):
        whole = {key: value for entry in entries.values() for key, value in msgspec.to_builtins(entry).items()}
    return msgspec.json.encode(whole).decode()


def read_routes(text: str) -> Reading[RouteRule]:
    return _read_list(documents.ROUTES, text, lambda data: "name", {"name": RouteRule}, route_problems)


def read_egress(text: str) -> Reading[EgressRequest]:
    def named_by(data: Mapping[str, object]) -> str:
        return "cidr" if "cidr" in data and "host" not in data else "host"

    kinds: dict[str, type[EgressRequest]] = {"host": HostRequest, "cidr": RangeRequest}
    return _read_list(documents.EGRESS, text, named_by, kinds, egress_problems)


def read_ports(text: str) -> Reading[Protocol]:
    try:
        document = read_yaml(text)
    except YamlError as exc:
        return Reading({}, None, (Problem(documents.PORTS, exc.problem, exc.line),))
    if not isinstance(document.data, dict):
        return Reading({}, None, (Problem(documents.PORTS, 'expected ports with their protocols, `5432: opaque`', 1),))
    entries: dict[str, Protocol] = {}
    problems: list[Problem] = []
    for port, protocol in document.data.items():
        if len(problems) >= MOST_PROBLEMS:
            return _too_many(documents.PORTS, problems)
        if not (port.isascii() and port.isdigit() and str(int(port[:6])) == port and 1 <= int(port) <= 65535):
            text = f'"{port[:100]}" is no port; write a number from 1 to 65535'
            problems.append(Problem(documents.PORTS, text, document.line(port)))
        elif protocol not in PROTOCOLS:
            text = f'{port}: "{str(protocol)[:100]}" is no protocol{nearest(str(protocol), PROTOCOLS)}'
            problems.append(Problem(documents.PORTS, text, document.line(port)))
        else:
            entries[port] = protocol
    return Reading(entries, frozenset(document.data) - entries.keys(), tuple(problems))


def read_endpoints(text: str) -> Reading[EndpointsRule]:
    return _read_fields(documents.ENDPOINTS, text, EndpointsRule, endpoints_problems, "connectTimeout: 2s")


def read_exclude(text: str) -> Reading[Exclusions]:
    return _read_fields(documents.EXCLUDE, text, Exclusions, exclusions_problems, "inboundPorts: [9100]")


def read_edge(text: str) -> Reading[EdgeRule]:
    return _read_fields(documents.EDGE, text, EdgeRule, edge_problems, "httpsRedirect: false")


_READERS: Mapping[str, Callable[[str], Reading[Any]]] = {
    documents.ROUTES: read_routes, documents.EGRESS: read_egress, documents.PORTS: read_ports, documents.ENDPOINTS: read_endpoints,
    documents.EXCLUDE: read_exclude,
}
USER_ANNOTATIONS = tuple(_READERS)
# Annotations that are a word.
WORDS: Mapping[str, tuple[str, ...]] = {documents.WORKLOAD_API: ("enabled",), documents.NATIVE_SIDECAR: ("true", "false")}


def _read_list(
    source: str, text: str, named_by: Callable[[Mapping[str, object]], str], kinds: Mapping[str, type[T]],
    complaints: Complaints[T],
) -> Reading[T]:
    """Each entry alone, so that one mistake hides no other and takes no other rule away."""
    try:
        document = read_yaml(text)
    except YamlError as exc:
        return Reading({}, None, (Problem(source, exc.problem, exc.line),))
    if not isinstance(document.data, list):
        return Reading({}, None, (Problem(source, "expected a list: every entry begins with `- `", 1),))
    if len(document.data) > MOST_ENTRIES:
        return Reading({}, None, (Problem(source, f"{len(document.data):,} entries are more than the {MOST_ENTRIES:,} that are read", 1),))
    entries: dict[str, T] = {}
    lines: dict[str, int] = {}
    broken: set[str] = set()
    problems: list[Problem] = []
    for i, data in enumerate(document.data):
        if len(problems) >= MOST_PROBLEMS:
            return _too_many(source, problems)
        key = named_by(data) if isinstance(data, dict) else next(iter(kinds))
        name = data.get(key) if isinstance(data, dict) else None
        named = [one for one in kinds if isinstance(data, dict) and one in data]
        if len(named) > 1:
            text = f"[{i}]: an entry says either {' or '.join(f'`{one}`' for one in named)}; remove one"
            problems.append(Problem(source, text, document.line(f"[{i}]")))
            broken |= {data[one] for one in named if isinstance(data[one], str)}
            continue
        try:
            value = _convert(source, document, f"[{i}]", data, kinds[key], complaints)
        except Invalid as exc:
            problems += exc.problems
            broken |= {name} if isinstance(name, str) else set()
            continue
        assert isinstance(name, str), "every entry has the field that names it"
        if name in entries:
            where = f"[{i}].{key}"
            problems.append(Problem(source, f'{where}: "{name}" is there twice; remove or rename one', document.line(where)))
            broken.add(name)
        else:
            entries[name], lines[name] = value, document.line(f"[{i}]")
    return Reading(entries, frozenset(broken), tuple(problems), lines)


def _read_fields(source: str, text: str, kind: type[T], complaints: Complaints[T], example: str) -> Reading[T]:
    """Each field is an entry of its own, so that a broken one keeps its last good version while the others go on."""
    try:
        document = read_yaml(text)
    except YamlError as exc:
        return Reading({}, None, (Problem(source, exc.problem, exc.line),))
    if not isinstance(document.data, dict):
        return Reading({}, None, (Problem(source, f"expected fields, such as `{example}`", 1),))
    entries: dict[str, T] = {}
    problems: list[Problem] = []
    for key, value in document.data.items():
        if len(problems) >= MOST_PROBLEMS:
            return _too_many(source, problems)
        try:
            entries[key] = _convert(source, document, "", {key: value}, kind, complaints)
        except Invalid as exc:
            problems += exc.problems
    return Reading(entries, frozenset(document.data) - entries.keys(), tuple(problems))


def _too_many(source: str, problems: list[Problem]) -> Reading[Any]:
    return Reading({}, None, (*problems[:MOST_PROBLEMS], Problem(source, "there may be more mistakes; correct these first")))


def _convert(
    source: str, document: Document | None, base: str, data: object, kind: type[T], complaints: Complaints[T],
) -> T:
    def problem(path: str, text: str) -> Problem:
        return Problem(source, text, document.line(path) if document else 0, path)

    try:
        value = msgspec.convert(data, kind)
    except msgspec.ValidationError as exc:
        raise Invalid([problem(*explain(exc, kind, base))]) from exc
    if problems := [problem(join(base, path), f"{join(base, path)}: {text}") for path, text in complaints(value)]:
        raise Invalid(problems)
    return value


def read_policy(data: Mapping[str, object]) -> EgressPolicySpec | MeshPolicySpec:
    """The spec of an EgressPolicy or MeshPolicy object. Raises Invalid."""
    if data.get("kind") == "EgressPolicy":
        return read_egress_policy(data)
    return read_mesh_policy(data)


def read_egress_policy(data: Mapping[str, object]) -> EgressPolicySpec:
    return _read_object(data, documents.EgressPolicy, lambda policy: _in_spec(egress_policy_problems(policy.spec))).spec


def read_mesh_policy(data: Mapping[str, object]) -> MeshPolicySpec:
    return _read_object(data, documents.MeshPolicy, lambda policy: _in_spec(mesh_policy_problems(policy.spec))).spec


def _in_spec(complaints: Iterator[Complaint]) -> Iterator[Complaint]:
    return ((f"spec.{path}", text) for path, text in complaints)


def _read_object(data: Mapping[str, object], kind: type[T], complaints: Complaints[T]) -> T:
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return _convert(f"{kind.__name__} {name}", None, "", data, kind, complaints)


def name_problems(annotations: Mapping[str, object], labels: Mapping[str, object]) -> list[Problem]:
    """Names under bartizan.dev that nobody reads, which is always a mistake."""
    problems: list[Problem] = []
    everything = (*documents.ANNOTATIONS, *documents.LABELS)
    for what, names, known in (("annotation", annotations, documents.ANNOTATIONS), ("label", labels, documents.LABELS)):
        for name in names:
            if len(problems) >= MOST_PROBLEMS:
                break
            if name in everything and name not in known:
                other = "labels" if what == "annotation" else "annotations"
                problems.append(Problem(name, f"this is no {what}; write it among the {other}"))
            elif name.startswith("bartizan.dev/") and name not in known:
                problems.append(Problem(name, f"there is no such {what}{nearest(name, everything)}"))
    value = labels.get(documents.INJECTION)
    if value is not None and value not in ("enabled", "disabled"):
        problems.append(Problem(documents.INJECTION, f'"{value}" is not valid{nearest(str(value), ("enabled", "disabled"))}'))
    return problems[:MOST_PROBLEMS]


def read_word(name: str, annotations: Mapping[str, object]) -> str | None:
    """What one of WORDS says; None: nothing. Raises Invalid."""
    value = annotations.get(name)
    if value is not None and value not in WORDS[name]:
        raise Invalid([Problem(name, f'"{str(value)[:100]}" is not valid{nearest(str(value), WORDS[name])}')])
    return value


def annotation_problems(annotations: Mapping[str, object]) -> list[Problem]:
    """Everything that is wrong with the users' annotations among `annotations`."""
    problems: list[Problem] = []
    for name in USER_ANNOTATIONS:
        text = annotations.get(name)
        if isinstance(text, str):
            problems += _READERS[name](text).problems
        elif text is not None:
            problems.append(Problem(name, "an annotation's value is text; put it under `|`"))
    for name in WORDS:
        try:
            read_word(name, annotations)
        except Invalid as exc:
            problems += exc.problems
    routes, ports = annotations.get(documents.ROUTES), annotations.get(documents.PORTS)
    if isinstance(routes, str):
        protocols: dict[int, Protocol] = dict.fromkeys(OPAQUE_PORTS, "opaque")
        if isinstance(ports, str):
            protocols |= {int(number): protocol for number, protocol in read_ports(ports).entries.items()}
        problems += [Problem(documents.ROUTES, text) for _, text in opaque_problems(read_routes(routes).entries.values(), protocols)]
    return problems
