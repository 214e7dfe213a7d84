"""`bartizan egress explain POD HOST`: each step from the application's connection to the verified host, and what stands in its way.

The pod's sidecar answers, with the code that serves the application; no byte of a request is sent. With -f the manifests answer: what
only the pod can know is not tried.
"""

import argparse

import msgspec

from injector.cluster import Cluster
from injector.compile import compile_workload
from injector.compile.declared import declared
from injector.compile.explain import asked_steps, find_pod, pod_step
from injector.compile.last_good import LastGood
from sidecar.model.errors import ProtocolViolation
from sidecar.model.explanation import STEPS, Explanation, Question, no, step
from sidecar.model.snapshot import digest, render_snapshot
from sidecar.net.clock import wall_clock
from sidecar.policy.forecast import forecast
from sidecar.policy.rules import Rules
from sidecar.protocol.asked import request_of

from . import asking
from .as_if import read_manifests
from .doors import doors_of

WHAT = "each step to a host, what stands in its way"
TRUST_DOMAIN = "cluster.local"      # of identities that nobody has to prove here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pod", metavar="POD", help="NAMESPACE/POD, or NAMESPACE/WORKLOAD for its first pod; with -n the plain name")
    parser.add_argument("host", metavar="HOST", help="a name, an address or a Service, with :PORT; default 80, or 443 for --kind tls")
    parser.add_argument("--kind", choices=("plain", "tls", "tcp"), help="what the application speaks; default: what is approved there")
    parser.add_argument("--method", default="GET", help="of plain HTTP; default GET")
    parser.add_argument("--path", default="/", help="of plain HTTP; default /")
    parser.add_argument("-f", "--files", nargs="+", metavar="FILE", help="ask these manifests, files or folders, instead of the pod")
    asking.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    host, port = asking.authority(args.host)
    question = asking.question(host, port or (443 if args.kind == "tls" else 80), args.kind or "auto", args.method, args.path)
    if args.files:
        found = explain_manifests(read_manifests(args.files), asking.pod_name(args), question, wall_clock())
        return asking.show(found, "nothing in these manifests stands in its way", as_json=args.json)
    return asking.show(asking.ask(doors_of(args), asking.pod_name(args), question), as_json=args.json)


def explain_manifests(cluster: Cluster, name: str, question: Question, now: float) -> Explanation:
    """As far as manifests tell. ConfigError where there is no such pod.

    Args:
        now: Unix seconds.
    """
    pod, last_good = find_pod(cluster, name), LastGood()
    first = msgspec.structs.replace(pod_step(pod), facts={})      # no address of these is anybody's
    compiled = compile_workload(cluster, pod.uid, TRUST_DOMAIN, last_good) if first.outcome == "ok" else None
    if compiled is None:
        return Explanation((first,))
    rules = Rules.of(compiled.snapshot, digest(render_snapshot(compiled.snapshot)))
    try:
        request = request_of(question)
    except ProtocolViolation as exc:
        return Explanation((first, no("destination", exc.reason, exc.detail)), exc.reason.code, rules.digest)
    meant = forecast(question, request.host.decode("ascii"), rules, now, request)
    requests = declared(pod, cluster, last_good).egress
    steps = [
        first,
        *asked_steps(pod, cluster, requests, question, is_service=meant.service is not None, is_observed=rules.outbound.observes(now)),
        *meant.steps,
    ]
    said = {one.name for one in steps}
    code = next((one.code for one in meant.steps if one.code), "")
    steps += [step(name, "skipped", "not tried: only the pod can tell") for name in STEPS if name not in said and name != "answer"]
    return Explanation(tuple(sorted(steps, key=lambda one: STEPS.index(one.name))), code, rules.digest)
