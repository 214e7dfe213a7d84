"""The Helm chart, made of the renderers themselves: `python -m injector.manifests.chart DIRECTORY`.

A renderer is given a `Plan` whose values are marks, and where a mark turns up in what it renders the template takes the value. Where a
value decides what is there at all, the same is rendered with it and without it, and the lines that differ stand between `if` and
`end`. So there is no second text of the manifests that could fall behind: tests/e2e/kubernetes/test_chart.py has Helm render it.
"""

import difflib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from injector.cli.schema import DRAFT, explained
from injector.yaml_out import write_yaml

from . import RENDERERS
from .parts import Manifest
from .plan import AllResources, Gateway, GatewayService, NodePorts, Persistence, Plan, values_of

HEADER = "# Made by `make chart` from injector/manifests; change that.\n"
NAME = "bartizan"
_MARK = re.compile(r"XX(\w+?)XX")
_DIGEST = re.compile(r"(bartizan\.dev/config: ).*")


def _mark(path: str) -> Any:
    """A text that YAML and JSON write plainly, whatever kind of value it stands for."""
    return f"XX{path.replace('.', '_')}XX"


_EACH = {"secret_namespaces": "secretNamespaces", "api_server_ports": "apiServerPorts"}     # by element
_WHOLE = ("image", "image_pull_policy", "image_pull_secrets", "revision", "replicas", "trust_domain", "cluster_domain",
          "priority_class_name", "pod_security", "net_raw", "lifetime_s", "address_unchecked_because", "csr_signer", "learning_days")
ALL = Plan(
    **{one.name: _mark(one.encode_name) for one in msgspec.structs.fields(Plan) if one.name in _WHOLE},
    resources=AllResources(_mark("resources.injector"), _mark("resources.issuer"), _mark("resources.sidecar")),
    persistence=Persistence(_mark("persistence.size"), _mark("persistence.storageClass")),
    secret_namespaces=(_mark("each"),), api_server_ports=(_mark("each"),),
    gateway=Gateway(
        True, _mark("gateway.replicas"), _mark("gateway.workers"),
        GatewayService(
            _mark("gateway.service.type"), _mark("gateway.service.externalTrafficPolicy"), _mark("gateway.service.annotations"),
            NodePorts(_mark("gateway.service.nodePorts.http"), _mark("gateway.service.nodePorts.https")),
        ),
        _mark("gateway.resources"), default_class=True, gateway_api=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Switch:
    """A value that decides what is there.

    Args:
        value: its name among the values.
        off: the plan without it.
        unset: what its mark is where it is only written down, in YAML and in JSON.
        but: what the value is where it decides against it; empty: false, or nothing.
    """

    value: str
    off: Plan
    unset: tuple[str, str] = ("", "")
    but: str = ""

    @property
    def condition(self) -> str:
        return f'(ne $.Values.{self.value} "{self.but}")' if self.but else f"$.Values.{self.value}"

    def without(self, text: str) -> str:
        """The text as it would be if nothing but the value in it changed."""
        mark = _mark(self.value)
        in_yaml, in_json = self.unset
        return text.replace(f"-{mark}", "").replace(f'"{mark}"', in_json).replace(mark, in_yaml)


def _persistence(**changed: str) -> Plan:
    return msgspec.structs.replace(ALL, persistence=msgspec.structs.replace(ALL.persistence, **changed))


def _gateway(**changed: object) -> Plan:
    return msgspec.structs.replace(ALL, gateway=msgspec.structs.replace(ALL.gateway, **changed))


def _service(**changed: object) -> Plan:
    return _gateway(service=msgspec.structs.replace(ALL.gateway.service, **changed))


def _node_ports(**changed: int) -> Plan:
    return _service(node_ports=msgspec.structs.replace(ALL.gateway.service.node_ports, **changed))


SWITCHES = (
    Switch("createNamespace", msgspec.structs.replace(ALL, create_namespace=False)),
    Switch("networkPolicies", msgspec.structs.replace(ALL, network_policies=False)),
    Switch("podSecurity", msgspec.structs.replace(ALL, pod_security="")),
    Switch("netRaw", msgspec.structs.replace(ALL, net_raw=False), ("false", "false")),
    Switch("csrSigner", msgspec.structs.replace(ALL, csr_signer=False), ("false", "false")),
    Switch("revision", msgspec.structs.replace(ALL, revision=""), ("''", '""')),
    Switch("persistence.size", _persistence(size="")),
    Switch("persistence.storageClass", _persistence(storage_class="")),
    Switch("gateway.ingress", _gateway(ingress=False)),
    Switch("gateway.defaultClass", _gateway(default_class=False)),
    Switch("gateway.gatewayApi", _gateway(gateway_api=False)),
    Switch("gateway.service.type", _service(type="ClusterIP"), ("ClusterIP", '"ClusterIP"'), "ClusterIP"),
    Switch("gateway.service.nodePorts.http", _node_ports(http=0)),
    Switch("gateway.service.nodePorts.https", _node_ports(https=0)),
)


@dataclass(slots=True)
class Template:
    """The lines of one object, and what the template says between them."""

    lines: list[str]
    before: dict[int, list[str]] = field(default_factory=dict)
    after: dict[int, list[str]] = field(default_factory=dict)

    def wrap(self, start: int, end: int, opening: str, otherwise: Sequence[str] = ()) -> None:
        """Lines from `start` up to `end` are there where `opening` says so, and else `otherwise`. What is within is wrapped first."""
        if start == end:
            text = [opening.replace("if ", "if not ", 1), *otherwise, "{{- end }}"]
            self.before.setdefault(start, [])[:0] = text
            return
        self.before.setdefault(start, []).insert(0, opening)
        self.after.setdefault(end - 1, []).extend([*(["{{- else }}", *otherwise] if otherwise else []), "{{- end }}"])

    def text(self) -> str:
        found = [text for i, line in enumerate(self.lines) for text in (*self.before.get(i, ()), line, *self.after.get(i, ()))]
        return "\n".join([*found, *self.before.get(len(self.lines), ())]) + "\n"


def chart() -> dict[str, str]:
    """Its files, by their paths."""
    files = {
        "Chart.yaml": HEADER + write_yaml([{
            "apiVersion": "v2", "name": NAME, "version": version(NAME), "appVersion": version(NAME), "kubeVersion": ">=1.30.0-0",
            "type": "application", "description": "A service mesh whose sidecar is small enough to read: its control plane.",
        }]),
        "values.yaml": HEADER + _values(),
        "values.schema.json": json.dumps(schema(), indent=2) + "\n",
        "templates/NOTES.txt": NOTES,
    }
    for name, render in RENDERERS.items():
        for made in render(ALL):
            # In a file of its own, since its pods look at the text of it.
            path = f"templates/{name}{'-config' if made['kind'] == 'ConfigMap' else ''}.yaml"
            files.setdefault(path, HEADER)
            files[path] += _template(name, render, made)
    return files


def schema() -> dict[str, Any]:
    """Of the values."""
    found = explained({"$schema": DRAFT, **msgspec.json.schema(Plan)})
    for struct in found["$defs"].values():
        for one in struct["properties"].values():
            one.pop("default", None)     # values.yaml has them
    return found


def _values() -> str:
    """Each with what it means above it."""
    about = {name: one.get("description", "") for name, one in schema()["$defs"]["Plan"]["properties"].items()}
    return "".join(f"\n# {about[name]}\n{write_yaml([{name: value}])}" for name, value in values_of(Plan()).items())


def _template(renderer: str, render: Callable[[Plan], list[Manifest]], made: Manifest) -> str:
    template = Template(_lines(made))
    for name, value in _EACH.items():
        _repeat(template, render, made, name, value)
    # The narrower first: what it wraps may lie within what another one does.
    edits = [edit for switch in SWITCHES for edit in _edits(template.lines, render, made, switch)]
    for start, end, condition, otherwise in sorted(edits, key=lambda edit: edit[1] - edit[0]):
        template.wrap(start, end, f"{{{{- if {condition} }}}}", otherwise)
    return _filled(template.text(), renderer)


def _edits(
    lines: Sequence[str], render: Callable[[Plan], list[Manifest]], made: Manifest, switch: Switch
) -> Iterator[tuple[int, int, str, list[str]]]:
    """(start, end, condition, lines instead) of what is otherwise without it."""
    kept = {_key(other): other for other in render(switch.off)}.get(_key(made, switch))
    if kept is None:
        yield 0, len(lines), switch.condition, []
        return
    others = _lines(kept)
    matcher = difflib.SequenceMatcher(None, [_plain(switch.without(line)) for line in lines], list(map(_plain, others)), autojunk=False)
    for what, start, end, other_start, other_end in matcher.get_opcodes():
        if what != "equal":
            yield start, end, switch.condition, others[other_start:other_end]


def _repeat(template: Template, render: Callable[[Plan], list[Manifest]], made: Manifest, name: str, value: str) -> None:
    """What is there for each of a list."""
    second = "XXsecondXX"
    twice = render(msgspec.structs.replace(ALL, **{name: (_mark("each"), second)}))
    if made["metadata"].get("namespace") == _mark("each"):
        if name == "secret_namespaces":
            template.wrap(0, len(template.lines), f"{{{{- range $.Values.{value} }}}}")
        return
    other = {_key(one): one for one in twice}[_key(made)]
    more = len(_lines(other)) - len(template.lines)
    if more and second in json.dumps(other):
        starts = [i for i, line in enumerate(template.lines) if _mark("each") in line]
        for start in starts:
            template.wrap(start, start + more // len(starts), f"{{{{- range $.Values.{value} }}}}")


def _lines(made: Manifest) -> list[str]:
    """One for each value, so that those that differ are told apart."""
    return ["---", *write_yaml([made], width=math.inf).splitlines()]


def _key(made: Manifest, switch: Switch | None = None) -> tuple[str, str, str]:
    name = made["metadata"]["name"]
    return made["kind"], made["metadata"].get("namespace", ""), switch.without(name) if switch is not None else name


def _plain(line: str) -> str:
    """Without the digest, which is another one with every value."""
    return _DIGEST.sub(r"\1", line)


def _filled(text: str, renderer: str) -> str:
    """Marks become values, and braces of ours are none of the template's."""
    assert "{{" not in _MARK.sub("", re.sub(r"\{\{- .*? \}\}", "", text)), f"{renderer}: braces that Helm would read"
    config = f'{{{{ include (print $.Template.BasePath "/{renderer}-config.yaml") $ | sha256sum | trunc 16 | quote }}}}'
    text = _DIGEST.sub(rf"\g<1>{config}", text)
    text = text.replace(f"-{_mark('revision')}", "{{ with $.Values.revision }}-{{ . }}{{ end }}")
    paths = {_mark(path): f"$.Values.{path}" for path in _paths(values_of(Plan()))} | {_mark("each"): "."}

    def value(match: re.Match[str]) -> str:
        return f"{{{{ {paths[match['mark']]} | toJson }}}}"

    text = re.sub(r'"(?P<mark>XX\w+?XX)"', value, text)
    text = re.sub(r"(?<=: )(?P<mark>XX\w+?XX)$", value, text, flags=re.MULTILINE)
    text = re.sub(r"(?<=- )(?P<mark>XX\w+?XX)$", value, text, flags=re.MULTILINE)
    return _MARK.sub(lambda match: f"{{{{ {paths[match[0]]} }}}}", text)


def _paths(values: Mapping[str, Any], base: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{base}{name}"
        if isinstance(value, dict):
            yield from _paths(value, f"{base}{name}.")


NOTES = """\
Bartizan {{ .Chart.AppVersion }} is on its way: kubectl -n bartizan-system get pods

Then: kubectl label namespace NAME bartizan.dev/injection=enabled
{{- with .Values.revision }} bartizan.dev/rev={{ . }}{{ end }}
      kubectl label namespace NAME pod-security.kubernetes.io/enforce=privileged --overwrite

`baseline` of Pod Security refuses every container with NET_ADMIN, and so the interception; what it asks of all other containers
Bartizan's own admission asks.
{{- if not .Values.persistence.size }}

persistence.size is not set: evidence and the issuance log are gone with their pod.
{{- end }}
"""


def main(argv: Sequence[str]) -> int:
    folder = Path(argv[0])
    for path, text in chart().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
