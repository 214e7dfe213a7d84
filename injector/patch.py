"""The patch that puts our parts into a pod. Patching a patched pod changes nothing.

Trust: a name proves nothing. Parts that bear our names are compared with a fresh rendering; a look-alike is refused. Attacked by
tests/injector/test_patch.py.
"""

from collections.abc import Mapping
from functools import partial
from secrets import token_hex
from typing import Any

import msgspec

from sidecar.model.config import Probe

from . import containers, documents
from .added import Added, added_of, words_of
from .cluster.objects import SIDECAR, Pod, at, objects, text
from .compile.mesh import MeshSettings
from .exclude import passage
from .form import OLDER, Places, costs, is_ours, places
from .hardening import Level, additions
from .json_patch import Patch
from .probes import moves, require_room
from .rendered import is_rendered
from .settings import Settings
from .validate import USER_ANNOTATIONS, WORDS, Invalid, Problem, normalised, read_word

STATUS_VERSION = 1
NO_POLICY = MeshSettings()
SPIFFE_SOCKET = "SPIFFE_ENDPOINT_SOCKET"    # SPIFFE_Workload_Endpoint s4


def patch_pod(pod: Mapping[str, Any], namespace: str, settings: Settings, mesh: MeshSettings = NO_POLICY) -> Patch:
    """
    Args:
        pod: one that `decide` says to inject.
        namespace: the request's.
        mesh: what the MeshPolicies say of this pod.
    Raises:
        Invalid: an annotation is wrong or asks for too much, or a part bears one of our names and is not ours.
    """
    patch = Patch(pod)
    view = Pod(patch.value)
    where = places(view.annotations)
    uid = containers.proxy_uid(view, namespace)
    workload_api = {name: read_word(name, view.annotations) for name in WORDS}[documents.WORKLOAD_API] is not None
    passing = passage(view.annotations, mesh)
    former = view.sidecar
    known = containers.probes_of(former) if former else {}
    probes = _move_probes(patch, known)
    hardened = _harden_all(patch, mesh.hardening, added_of(view.annotations) if former else {})
    if workload_api:
        _offer_workload_api(patch)
    before, now = (
        containers.sidecar(settings, uid, asked, workload_api=workload_api, older=where is OLDER)
        for asked in (known if former else probes, probes)
    )
    _place_containers(patch, [containers.interception(settings, uid, passing), before], where)
    # A debugging copy has lost the probes of before, and another webhook may have added a container with its own.
    names = [one.get("name") for one in _named(patch, where[SIDECAR])]
    patch.set(("spec", where[SIDECAR], names.index(SIDECAR), "env"), now["env"])
    ours = containers.volumes(workload_api=workload_api)
    _place_volumes(patch, ours)
    _annotate(patch, settings, uid, ours, where, hardened)
    return patch


def _move_probes(patch: Patch, known: Mapping[str, Probe]) -> dict[str, Probe]:
    moved: dict[str, Probe] = {}
    for field, i, container in _others(patch):
        for move in moves(container, known, partial(token_hex, 16)):
            moved[move.path] = move.probe
            patch.set(("spec", field, i, *move.place), move.value)
    require_room(moved)
    return moved


def patch_ephemeral(pod: Mapping[str, Any], old: Pod, level: Level) -> Patch:
    """Ephemeral containers that are new get what every other container got; the API server takes no other change with them."""
    patch = Patch(pod)
    for i, container in enumerate(Pod(pod).ephemeral_containers):
        if container not in old.ephemeral_containers:
            _harden(patch, "ephemeralContainers", i, level)
    return patch


def _harden_all(patch: Patch, level: Level, before: Added) -> Added:
    """What was added now, and when the pod was patched before."""
    added = {}
    for field, i, container in _others(patch):
        name = str(container.get("name"))
        words = dict.fromkeys((*before.get(name, ()), *_harden(patch, field, i, level)))
        if words:
            added[name] = tuple(words)
    return added


def _harden(patch: Patch, field: str, i: int, level: Level) -> list[str]:
    """In words, what was added."""
    words: list[str] = []
    for path, value in list(additions(patch.value["spec"][field][i], Pod(patch.value), level)):
        words += words_of(patch.value["spec"][field][i], path, value)
        patch.set(("spec", field, i, "securityContext", *path), value)
    return words


def _offer_workload_api(patch: Patch) -> None:
    """The socket, and the variable by which SPIFFE's libraries find it, for every container that is not ours."""
    for field, i, container in _others(patch):
        mounts, variables = (objects(container.get(name), name) for name in ("volumeMounts", "env"))
        if containers.application_mount() not in mounts:
            patch.insert(("spec", field, i, "volumeMounts"), len(mounts), containers.application_mount())
        if SPIFFE_SOCKET not in [variable.get("name") for variable in variables]:
            variable = {"name": SPIFFE_SOCKET, "value": f"unix://{containers.WORKLOAD_SOCKET}"}
            patch.insert(("spec", field, i, "env"), len(variables), variable)


def _place_containers(patch: Patch, ours: list[dict[str, Any]], where: Places) -> None:
    """First in their lists, in this order, so that nothing runs before the interception stands."""
    present = [one["name"] for field in ("initContainers", "containers") for one in _named(patch, field) if is_ours(field, one, where)]
    if present and sorted(present) != sorted(containers.CONTAINERS):     # one of the two, or one of them twice
        raise _look_alike("container", present[-1])
    first = dict.fromkeys(where.values(), 0)
    for part in ours:
        field = where[part["name"]]
        index, found = first[field], _named(patch, field)
        first[field] += 1
        if present:
            at_index = [one.get("name") for one in found].index(part["name"])
            if not is_rendered(found[at_index], part):
                raise _look_alike("container", part["name"])
            if at_index == index:
                continue
            part = dict(found[at_index])
            patch.remove(("spec", field), at_index)
        patch.insert(("spec", field), index, part)


def _named(patch: Patch, field: str) -> list[dict[str, Any]]:
    return objects(at(patch.value, "spec").get(field), f"spec.{field}")


def _place_volumes(patch: Patch, ours: list[dict[str, Any]]) -> None:
    found = {text(volume.get("name"), "volumes.name"): volume for volume in Pod(patch.value).volumes}
    for name in found.keys() & set(containers.VOLUMES) - {volume["name"] for volume in ours}:
        raise _look_alike("volume", name)
    for volume in ours:
        if volume["name"] not in found:
            patch.insert(("spec", "volumes"), len(Pod(patch.value).volumes), volume)
        elif found[volume["name"]] != volume:
            raise _look_alike("volume", volume["name"])


def _annotate(patch: Patch, settings: Settings, uid: int, volumes: list[dict[str, Any]], where: Places, hardened: Added) -> None:
    problems: list[Problem] = []
    for name in USER_ANNOTATIONS:
        annotation = Pod(patch.value).annotations.get(name)
        if annotation is None:
            continue
        try:
            patch.set(("metadata", "annotations", name), normalised(name, text(annotation, name)))
        except Invalid as exc:
            problems += exc.problems
    if problems:
        raise Invalid(problems)
    status: dict[str, Any] = {
        "version": STATUS_VERSION, "image": settings.image, "containers": containers.CONTAINERS,
        "volumes": [volume["name"] for volume in volumes],
        "exempt": f"uid {uid}" if settings.bypass == "uid" else f"mark {settings.mark}",
        "form": "older" if where is OLDER else "native",
    }
    if given_up := list(costs(Pod(patch.value))):
        status["costs"] = given_up
    if hardened:
        status["hardened"] = hardened
    patch.set(("metadata", "annotations", documents.ROOTS), settings.roots)
    patch.set(("metadata", "annotations", documents.STATUS), msgspec.json.encode(status).decode())


def _others(patch: Patch) -> list[tuple[str, int, dict[str, Any]]]:
    """(field, index, container) of every container that is not ours."""
    return [
        (field, i, container)
        for field in ("initContainers", "containers")
        for i, container in enumerate(_named(patch, field))
        if not is_ours(field, container, places(Pod(patch.value).annotations))
    ]


def _look_alike(what: str, name: object) -> Invalid:
    cause = ("the name is ours and the rest is not; rename it, or remove it and get the genuine one. A copy of a meshed pod keeps its "
             "annotations, or none of our init containers (kubectl debug --keep-annotations, or --keep-init-containers=false)")
    return Invalid([Problem(f"{what} {name}", cause)])
