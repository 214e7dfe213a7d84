"""`bartizan egress propose`: the annotations and policies for what the ledgers have seen (`injector/egress/propose.py`).

It reads what the control plane has collected, and needs neither the cluster nor the sidecars. With `-o networkpolicy` it reads the
EgressPolicies of a cluster, or of manifests, and no ledger (`injector/egress/as_network_policy.py`).
"""

import argparse
import sys

from injector.audit.period import Period, moment
from injector.audit.store import open_store
from injector.egress.as_network_policy import network_policies
from injector.egress.propose import propose
from injector.egress.seen import MOST_PLACES, seen
from sidecar.model.errors import ConfigError
from sidecar.net.clock import WallClock, wall_clock

from . import kubectl, state
from .as_if import read_manifests
from .live import whole_cluster

WHAT = "print the annotations and policies for what was seen"
NOTHING = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="folders of ledgers, or ledgers, instead of those of --state")
    state.add_arguments(parser)
    parser.add_argument("--since", default="7d", metavar="WHEN", help="90s, 30m, 24h, 7d ago, or 2026-03-01T00:00Z (7d)")
    parser.add_argument("--until", default="0s", metavar="WHEN", help="likewise (now)")
    parser.add_argument("--workload", metavar="NS/SA", help="this service account alone")
    parser.add_argument("-o", "--output", choices=("egress", "networkpolicy"), default="egress",
                        help="networkpolicy: what EgressPolicies approve, as NetworkPolicies; default egress")
    parser.add_argument("-f", "--manifests", nargs="+", metavar="FILE", help="of networkpolicy: these manifests instead of the cluster")
    kubectl.add_arguments(parser)
    parser.add_argument("--with-refused", action="store_true", help="also what was refused because nobody has approved it")


def run(args: argparse.Namespace, wall: WallClock = wall_clock) -> int:
    """2 if nothing was seen."""
    if args.output == "networkpolicy":
        return _network_policies(args)
    now = wall()
    period = Period(moment("--since", args.since, now), moment("--until", args.until, now))
    store = open_store(args.files or [str(state.state_of(args) / state.LEDGER)])
    found = seen(store, period, with_refused=args.with_refused, only=_workload(args.workload))
    print(propose(found), end="")
    for count, what in (
        (found.doubtful, "are left out: their chain is broken there, or they speak for another workload; see: bartizan audit verify"),
        (found.unclear, "are left out: they do not say which host, which port or how"),
        (found.beyond, f"are left out: their workload was seen at more than {MOST_PLACES:,} places, too many to approve one by one"),
    ):
        if count:
            print(f"bartizan: {count:,} records {what}", file=sys.stderr)
    if not found.workloads:
        print("bartizan: nothing was seen; a connection is told of when it ends, and shipped within ten seconds", file=sys.stderr)
        return NOTHING
    return 0


def _network_policies(args: argparse.Namespace) -> int:
    """Likewise."""
    cluster = read_manifests(args.manifests) if args.manifests else whole_cluster(kubectl.Kubectl.of(args))
    made = network_policies(cluster, _workload(args.workload))
    print(made, end="")
    if not made:
        print("bartizan: no EgressPolicy means a workload that is there", file=sys.stderr)
    return 0 if made else NOTHING


def _workload(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    namespace, _, account = text.partition("/")
    if not namespace or not account:
        raise ConfigError("--workload", f"{text!r} is no NAMESPACE/SERVICE-ACCOUNT")
    return namespace, account
