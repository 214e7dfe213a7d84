"""The operator's door: HTTP on a Unix socket in the injector's state directory. Never a TCP port.

    POST /v1/ask    {"pod": "shop/web-1", "question": {...}}: what the control plane knows, and what the pod's sidecar answers

Trust: whoever may open the socket is the user that the injector runs as, or root; the file's mode says so. What the sidecar answers comes
from a pod, which may be anybody's: it is a value of bounded size, whose texts are escaped where they are shown (`injector/cli/asking.py`).
Attacked by tests/injector/test_operator.py.
"""

import socket
from collections.abc import Callable, Collection

import msgspec

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

from .cluster import Cluster
from .cluster.objects import Pod
from .compile.declared import declared
from .compile.explain import asked_steps, find_pod, pod_step
from .compile.last_good import LastGood
from .compile.mesh import mesh_settings
from .questions import Questions, Unanswered

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


class Operator:
    """
    Args:
        snapshot_of: the text of the snapshot that the pod with this uid should have now, with further Services that it may want.
        last_good: what the annotations in force are read with.
    """

    def __init__(
        self, cluster: Watched[Cluster], questions: Questions, snapshot_of: Callable[[str, Collection[str]], bytes | None],
        last_good: LastGood, wall: WallClock,
    ) -> None:
        self._cluster = cluster
        self._questions = questions
        self._snapshot_of = snapshot_of
        self._last_good = last_good
        self._wall = wall

    async def serve(self, sock: socket.socket) -> None:
        with Deadline() as deadline:
            await serve_calls(SocketStream(sock), self.answer, deadline, max_body_bytes=MAX_QUESTION_BYTES)

    async def answer(self, call: Call) -> Answer:
        if (call.method, call.path) != ("POST", "/v1/ask"):
            return Answer.error(404, "POST /v1/ask")
        try:
            asking = from_json(call.body, Asking)
            check_question(asking.question)
            pod = find_pod(self._cluster.current, asking.pod)
        except ConfigError as exc:
            return Answer.error(400, str(exc))
        return Answer(200, msgspec.json.encode(await self._explain(pod, asking.question)))

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
