"""What the containers and volumes that bear our names must be, in CEL: field by field what `injector/containers.py` renders.

The rendering itself is what the sentences are made of, so the two cannot drift apart. What differs between pods is the sidecar's UID,
what passes it by, whether it serves the Workload API, and the probes in its configuration: text of the shape of JSON, in which
brackets and quotes are paired so that nothing after it can be meant.

Trust: a look-alike that differs in any field is refused while no webhook answers. tests/e2e/kubernetes/test_backstop.py changes each.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from injector import containers
from injector.cluster.objects import INTERCEPTION, SIDECAR
from injector.containers import UIDS, WORKLOAD_VOLUME
from injector.rendered import API_TOKEN_MOUNT
from injector.settings import Settings
from sidecar.model.config import Probe
from sidecar.model.passage import NOTHING

from .cel import both, cel
from .theirs import Validation

_UID = UIDS[-1]     # stands for whichever it is
_UID_IS = {_UID: "variables.uid", str(_UID): "string(variables.uid)"}
_PROBES = {"@": Probe(1)}
_DEPTH = 6          # of brackets in what the probes are made of
# A string as it stands in an environment variable: `$$` is a `$`, and a single one would be the kubelet's to replace.
_STRING = r'"(?:[^"\\$\x00-\x1f]|\\[^$\x00-\x1f]|\$\$)*"'
_PLAIN = rf"{_STRING}|[-+.,:0-9a-zE]"


def _balanced(depth: int) -> str:
    """One kind of bracket for another is no JSON, which the sidecar does not start with."""
    return rf"(?:{_PLAIN}|[\[{{]{_balanced(depth - 1)}[\]}}])*" if depth else rf"(?:{_PLAIN})*"


def part_demands(settings: Settings) -> list[Validation]:
    """Of `variables.interception` and `variables.sidecar`, which are empty where there is none, and of volumes."""
    assert settings.bypass == "uid", "a mark is for machines with a single UID"
    interception = containers.interception(settings, _UID, NOTHING)
    native, older = (containers.sidecar(settings, _UID, {}, older=form) for form in (False, True))
    return [
        Validation(f"variables.uid >= {UIDS.start} && variables.uid < {UIDS.stop}", cel(_words(SIDECAR, "runAsUser"))),
        *_container_demands(INTERCEPTION, "variables.interception", interception, {
            # Its exclusions: see `backstop.py`.
            "args": "variables.arguments == variables.exemption || variables.arguments.startsWith(variables.exemption + ' --')",
        }),
        *_container_demands(SIDECAR, "variables.sidecar", native, {
            "env": _environment(settings),
            "volumeMounts": f"({_mounts('variables.sidecar')}) == (variables.wantsApi ? {cel(_mounts_of(settings, api=True))} : "
                            f"{cel(_mounts_of(settings, api=False))})",
            **{field: f"variables.older ? !has(variables.sidecar.{field}) : variables.sidecar.?{field} == optional.of({cel(native[field])})"
               for field in native.keys() - older.keys()},
        }),
        *_volume_demands(),
    ]


def _words(name: str, field: str) -> str:
    return f"container {name}: {field} is not what the mesh gives it; remove the container, and the webhook puts the genuine one there"


def _container_demands(name: str, at: str, rendered: Mapping[str, Any], special: Mapping[str, str]) -> Iterator[Validation]:
    for field, value in rendered.items():
        demand = special.get(field) or f"{at}.?{field} == optional.of({cel(value, _UID_IS)})"
        if field == "imagePullPolicy":      # AlwaysPullImages
            demand = f"{at}.?{field}.orValue('') in {cel([value, 'Always'])}"
        elif field == "resources":
            demand = _resources(at)
        yield Validation(demand, cel(_words(name, field)))
    if "volumeMounts" not in rendered:
        yield Validation(f"({_mounts(at)}).size() == 0", cel(_words(name, "volumeMounts")))
    known = cel(sorted({*rendered, "volumeMounts"}))
    yield Validation(f"{at}.all(field, field in {known})",
                     f"{cel(f'container {name}: the field ')} + {at}.filter(field, !(field in {known}))[0] + "
                     f"{cel(' is none that the mesh gives it; remove the container')}")


def _mounts(at: str) -> str:
    """Without that of the API's token, which the API server puts there."""
    return f"{at}.?volumeMounts.orValue([]).filter(mount, mount.mountPath != {cel(API_TOKEN_MOUNT)})"


def _mounts_of(settings: Settings, *, api: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = containers.sidecar(settings, _UID, {}, workload_api=api)["volumeMounts"]
    return found


def _resources(at: str) -> str:
    """Amounts that we give, `variables.amounts`; LimitRanger may add others."""
    there = f"{at}.?resources[?kind][?name].orValue('0')"
    return both([
        f"{at}.?resources.orValue({{}}).all(kind, kind in ['requests', 'limits'])",
        "variables.amounts.all(kind, variables.amounts[kind].all(name, "
        f"quantity({there}).compareTo(quantity(variables.amounts[kind][name])) == 0))",
    ])


def _environment(settings: Settings) -> str:
    """All variables as they are rendered; of the configuration the probes may be any."""
    pod_uid, pod_name, config = containers.sidecar(settings, _UID, {})["env"]
    at = "variables.sidecar.env"
    return both([
        "has(variables.sidecar.env)", f"{at}.size() == 3", f"{at}[0] == {cel(pod_uid)}", f"{at}[1] == {cel(pod_name)}",
        f"{at}[2].all(field, field in ['name', 'value'])", f"{at}[2].name == {cel(config['name'])}",
        f"{at}[2].?value.orValue('').matches(variables.wantsApi ? {cel(_pattern(settings, api=True))} : "
        f"{cel(_pattern(settings, api=False))})",
    ])


def _pattern(settings: Settings, *, api: bool) -> str:
    bare, probed = (
        containers.sidecar(settings, _UID, probes, workload_api=api)["env"][2]["value"] for probes in ({}, _PROBES)
    )
    before, after = probed.split(msgspec.json.encode(_PROBES).decode())
    return rf"^(?:{_literal(bare)}|{_literal(before)}\{{{_balanced(_DEPTH - 1)}\}}{_literal(after)})$"


def _literal(text: str) -> str:
    """As a pattern. A dash means itself, and a revision's name is to stand there as it is."""
    return re.escape(text).replace(r"\-", "-")


def _volume_demands() -> Iterator[Validation]:
    for volume in containers.volumes(workload_api=True):
        name = volume["name"]
        found = f"variables.spec.?volumes.orValue([]).filter(volume, volume.name == {cel(name)})"
        demand = f"{found} == {cel([volume])}"
        if name == WORKLOAD_VOLUME:
            demand = f"variables.wantsApi ? {demand} : {found}.size() == 0"
        yield Validation(demand, cel(f"volume {name} is not what the mesh gives it; remove it, and the webhook puts the genuine one there"))
