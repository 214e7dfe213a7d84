"""What holds in the namespaces of the mesh: every pod with a sidecar that is ready, up to date, of the right image, with a certificate."""

from collections.abc import Iterable, Iterator, Mapping

from injector.bare import bare, restart
from injector.cli.kubectl import Kubectl, KubectlError
from injector.cli.live import everything
from injector.cli.terminal import ago
from injector.cluster import Cluster
from injector.cluster.checked import checked
from injector.cluster.objects import SIDECAR, Pod, at
from injector.documents import REVISION
from injector.settings import Settings
from injector.status import PodStatus, Status, concerned
from injector.validate import Invalid
from sidecar.model.errors import ConfigError

from . import Check, failed, judged

SOON_S = 900.0      # a sidecar renews at half of its certificate's life
MOST = 10           # pods that one check names


def data_plane(kubectl: Kubectl, namespace: str, status: Status | None, images: Mapping[str, str]) -> Iterator[Check]:
    """
    Args:
        namespace: empty: all of them.
        status: of the injectors; None: none has answered.
        images: of sidecars, by revision, as their injector gives it to new pods.
    """
    try:
        cluster = Cluster.of(_readable(everything(kubectl, namespace)[0]))
    except KubectlError as exc:
        yield failed("pods can be looked at", "pods", str(exc))
        return
    pods = list(concerned(cluster, namespace))
    yield from _have_sidecars(pods, cluster)
    meshed = [pod for pod in pods if pod.has_sidecar]
    yield judged(f"sidecars are ready ({sum(map(_is_ready, meshed))} of {len(meshed)})", "sidecars-ready", _few(
        f"{_name(pod)}: its sidecar is not ready; kubectl -n {pod.namespace} logs {pod.name} -c {SIDECAR}"
        for pod in meshed if not _is_ready(pod)
    ))
    yield judged("sidecars are of the control plane's version", "sidecars-version", _few(
        f"{_name(pod)} has {_image(pod)}, and new pods get {images[revision]}; {restart(pod, cluster)}"
        for pod in meshed if (revision := _revision(pod, cluster)) in images and _image(pod) != images[revision]
    ), "warning")
    if status is None:
        yield failed("the control plane knows of its sidecars", "sidecars-known", "no injector answers; see: bartizan check")
        return
    there = {pod.uid for pod in meshed}
    yield from _known([one for one in status.pods if one.uid in there], status.now)


def _readable(objects: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
    """What cannot be read is nobody's pod; `analyze` says what is wrong with it."""
    for one in objects:
        try:
            yield checked(one)
        except (ConfigError, Invalid):
            continue


def _have_sidecars(pods: list[Pod], cluster: Cluster) -> Iterator[Check]:
    wrong, allowed = [], []
    for pod in pods:
        found = bare(pod, cluster, Settings())
        if found is not None and found.is_meant:
            allowed.append(f"{_name(pod)}: {found.reason}")
        elif found is not None:
            wrong.append(f"{_name(pod)}: {found.reason}")
            wrong += [f"    run: {found.cure}"] if found.cure else []
    count = sum(pod.has_sidecar for pod in pods)
    yield judged(f"pods have a sidecar ({count} of {len(pods)})", "missing-sidecar", _few(wrong, 2 * MOST))
    if allowed:
        yield judged("no pod stays outside of the mesh", "outside", _few(allowed), "warning")


def _known(pods: list[PodStatus], now: float) -> Iterator[Check]:
    late = [pod for pod in pods if pod.state(now) != "SYNCED"]
    yield judged(f"sidecars are up to date with the control plane ({len(pods) - len(late)} of {len(pods)})", "sidecars-synced", _few(
        f"{pod.namespace}/{pod.name} is {pod.state(now)}"
        + (f": it does not take the newest: {pod.refused}" if pod.refused else f", last heard of {ago(now - pod.heard_at)} ago"
           if pod.heard_at else ": it was never heard of")
        for pod in late
    ), "error" if any(pod.state(now) == "NEVER" for pod in late) else "warning")
    ends = [pod for pod in pods if pod.not_after]
    earliest = f", the first ends in {ago(min(pod.not_after for pod in ends) - now)}" if ends else ""
    yield judged(f"sidecars' certificates are valid{earliest}", "sidecars-certificates", _few(
        f"{pod.namespace}/{pod.name}: its certificate {'ended' if pod.not_after <= now else f'ends in {ago(pod.not_after - now)}'}; "
        f"kubectl -n {pod.namespace} logs {pod.name} -c {SIDECAR}"
        for pod in ends if pod.not_after < now + SOON_S
    ), "error" if any(pod.not_after <= now for pod in ends) else "warning")
    yield judged("every rule is in force as it is written", "rules", _few(
        f"{pod.namespace}/{pod.name}: {pod.rules.kept} kept in a former version, {pod.rules.refused} refused; "
        f"bartizan describe pod {pod.name} -n {pod.namespace}"
        for pod in pods if pod.rules.kept or pod.rules.refused
    ), "warning")


def _few(lines: Iterable[str], most: int = MOST) -> list[str]:
    found = list(lines)
    return [*found[:most], f"and {len(found) - most} more"] if found[most:] else found


def _name(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name}"


def _image(pod: Pod) -> str:
    return next((str(one.get("image")) for one in (*pod.init_containers, *pod.containers) if one.get("name") == SIDECAR), "")


def _revision(pod: Pod, cluster: Cluster) -> str:
    return str(cluster.namespace_labels(pod.namespace).get(REVISION, ""))


def _is_ready(pod: Pod) -> bool:
    """Of the sidecar's own container: the application's readiness is its own business."""
    status = at(pod.data, "status")
    listed = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return any(one.get("name") == SIDECAR and one.get("ready") is True for one in listed)
