"""The operator's door: HTTP on a Unix socket in the injector's state directory. Never a TCP port.

    POST /v1/ask        {"pod": "shop/web-1", "question": {...}}: what the control plane knows, and what the pod's sidecar answers
    POST /v1/status     {"namespace": "shop"}: how it stands with each pod; without a namespace: of all of them
    POST /v1/describe   {"name": "shop/web"}: what stands for a pod, or a Service
    POST /v1/config     {"name": "shop/web"}: the snapshot of a pod, without keys

Trust: whoever may open the socket is the user that the injector runs as, or root; the file's mode says so. What the sidecar answers comes
from a pod, which may be anybody's: it is a value of bounded size, whose texts are escaped where they are shown (`injector/cli/asking.py`).
Attacked by tests/injector/test_operator.py.
"""

import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec
import trio

from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError
from sidecar.model.explanation import Explanation, Question, Step, check_question, step
from sidecar.model.snapshot import digest, parse_snapshot
from sidecar.model.value import Name, Value, from_json
from sidecar.net.clock import WallClock
from sidecar.net.deadline import Deadline
from sidecar.net.service import serve_calls
from sidecar.net.socket_stream import SocketStream
from sidecar.net.watched import Watched
from sidecar.policy.cluster_names import service_name
from sidecar.policy.forecast import forecast
from sidecar.policy.rules import Rules

from .acknowledged import Acknowledged
from .cluster import Cluster
from .cluster.objects import Pod
from .compile.declared import declared
from .compile.explain import asked_steps, find_pod, pod_step
from .compile.in_force import rules_of
from .compile.last_good import LastGood
from .compile.mesh import mesh_settings
from .compile.services import Services
from .describe import find, pod_view, service_view
from .description import Description
from .questions import Questions, Unanswered
from .status import PodStatus, Status, concerned, pod_status
from .version import own_version

SOCKET = "operator.sock"        # in the state directory
MAX_QUESTION_BYTES = 16 << 10
OURS = frozenset({"pod", "request", "policy"})      # steps that only the control plane can tell of


class Asking(Value, frozen=True):
    """
    Args:
        pod: `NAMESPACE/POD`, or a workload's name there.
    """

    pod: Name
    question: Question


class Listing(Value, frozen=True):
    """
    Args:
        namespace: empty: all of them.
    """

    namespace: str = ""


class Naming(Value, frozen=True):
    """
    Args:
        name: as `injector/describe.py` reads it.
    """

    name: Name


class ConfigView(Value, frozen=True):
    """
    Args:
        status: which snapshot it is meant to have, and which it has by its own word.
        snapshot: the former, keys left out; None: it has no sidecar, or does not run.
    """

    status: PodStatus
    snapshot: dict[str, Any] | None = None


class Operator:
    """
    Args:
        snapshot_of: the text of the snapshot that the pod with this uid should have now, with further Services that it may want.
        problems_of: what is wrong with the documents that it comes from.
        services: those of a namespace, compiled.
        last_good: what the annotations in force are read with.
        acknowledged: what sidecars said of their snapshots.
        certificate_ends: the first of the injector's own HTTPS chain, Unix seconds.
    """

    def __init__(
        self, cluster: Watched[Cluster], questions: Questions, snapshot_of: Callable[[str, Collection[str]], bytes | None],
        last_good: LastGood, wall: WallClock, *, problems_of: Callable[[str], tuple[str, ...]],
        services: Callable[[Cluster, str], Services], acknowledged: Acknowledged,
        certificate_ends: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._questions = questions
        self._snapshot_of = snapshot_of
        self._last_good = last_good
        self._wall = wall
        self._problems_of = problems_of
        self._services = services
        self._acknowledged = acknowledged
        self._certificate_ends = certificate_ends

    async def serve(self, sock: socket.socket) -> None:
        with Deadline() as deadline:
            await serve_calls(SocketStream(sock), self.answer, deadline, max_body_bytes=MAX_QUESTION_BYTES)

    async def answer(self, call: Call) -> Answer:
        answer = ENDPOINTS.get(call.path) if call.method == "POST" else None
        if answer is None:
            return Answer.error(404, f"there is only POST {', '.join(ENDPOINTS)}")
        try:
            return Answer(200, msgspec.json.encode(await answer(self, call.body)))
        except ConfigError as exc:
            return Answer.error(400, str(exc))

    async def _ask(self, body: bytes) -> Explanation:
        asking = from_json(body, Asking)
        check_question(asking.question)
        return await self._explain(find_pod(self._cluster.current, asking.pod), asking.question)

    async def _list(self, body: bytes) -> Status:
        wanted, cluster = from_json(body, Listing), self._cluster.current
        pods = []
        for pod in concerned(cluster, wanted.namespace):
            pods.append(self._status(pod, cluster))
            await trio.lowlevel.checkpoint()        # there may be thousands, and sidecars wait for their answers meanwhile
        return Status(own_version(), self._wall(), tuple(pods), self._certificate_ends())

    def _status(self, pod: Pod, cluster: Cluster) -> PodStatus:
        found = pod_status(pod, cluster, self._acknowledged, self._last_good, lambda uid: self._snapshot_of(uid, ()))
        return msgspec.structs.replace(found, problems=self._problems_of(pod.uid))

    async def _describe(self, body: bytes) -> Description:
        cluster = self._cluster.current
        found = find(cluster, from_json(body, Naming).name)
        if not isinstance(found, Pod):
            return Description(service=service_view(found, cluster, self._services(cluster, found.namespace)))
        text = self._snapshot_of(found.uid, ()) if found.is_meshed else None
        snapshot = parse_snapshot(text) if text is not None else None
        rules = rules_of(found, cluster, self._last_good)
        return Description(pod=pod_view(found, cluster, self._status(found, cluster), snapshot, rules), now=self._wall())

    async def _config(self, body: bytes) -> ConfigView:
        cluster = self._cluster.current
        pod = find_pod(cluster, from_json(body, Naming).name)
        text = self._snapshot_of(pod.uid, ()) if pod.is_meshed else None
        return ConfigView(self._status(pod, cluster), without_keys(msgspec.json.decode(text)) if text is not None else None)

    async def _explain(self, pod: Pod, question: Question) -> Explanation:
        first, cluster = pod_step(pod), self._cluster.current
        mesh = mesh_settings(cluster.mesh_policies, pod.namespace, pod.labels)
        asked = [name for name in (service_name(question.host.lower(), mesh.cluster_domain), question.host) if name]
        text = self._snapshot_of(pod.uid, asked) if first.outcome == "ok" else None
        if text is None:
            return Explanation((first,))
        requests = declared(pod, cluster, self._last_good).egress
        rules = Rules.of(parse_snapshot(text), digest(text))
        meant = forecast(question, question.host.lower(), rules, self._wall(), None)
        is_service, is_observed = meant.service is not None, rules.outbound.observes(self._wall())
        known = (first, *asked_steps(pod, cluster, requests, question, is_service=is_service, is_observed=is_observed))
        try:
            answer = await self._questions.ask(pod.uid, question)
        except Unanswered as exc:
            return Explanation((*known, step("snapshot", "failed", str(exc))))      # what is known is worth more than nothing
        # A sidecar that was taken over speaks for itself, and not for us.
        now = self._snapshot_of(pod.uid, ())
        theirs = tuple(_compared(one, now is not None and answer.snapshot == digest(now)) for one in answer.steps if one.name not in OURS)
        return Explanation((*known, *theirs), answer.code, answer.snapshot)


def _compared(one: Step, is_current: bool) -> Step:
    """What the sidecar cannot know: whether its snapshot is the newest."""
    if one.name != "snapshot" or one.outcome != "ok":
        return one
    words = "the sidecar has the newest" if is_current else "the sidecar has an older one: what changed since does not count yet"
    return step("snapshot", "ok", words, facts=one.facts)


def without_keys(found: Any) -> Any:
    """A snapshot as JSON, of which nobody can be impersonated: client certificates without their keys."""
    if isinstance(found, dict):
        return {name: without_keys(_public(value) if name == "clientCertificate" else value) for name, value in found.items()}
    return [without_keys(item) for item in found] if isinstance(found, list) else found


def _public(certificate: Any) -> Any:
    return {**certificate, "key": "(not shown)"} if isinstance(certificate, dict) and "key" in certificate else certificate


ENDPOINTS: Mapping[str, Callable[[Operator, bytes], Awaitable[Value]]] = {
    "/v1/ask": Operator._ask,
    "/v1/status": Operator._list,
    "/v1/describe": Operator._describe,
    "/v1/config": Operator._config,
}
