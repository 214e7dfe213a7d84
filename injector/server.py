"""`bartizan injector --config FILE`: the admission webhook and the snapshot stream, over one watched source of objects.

    operator  POST /v1/ask, /v1/status   a Unix socket in the state directory (`injector/operator.py`)
    webhook   POST /mutate, /validate    HTTPS; the API server verifies us, what it sends is judged by `injector/review.py`
              GET /healthz, /metrics
    stream    GET /v1/snapshot, ...      mTLS; for sidecars, each of its own pod, and the issuer (`injector/stream.py`)

Both look at the same immutable state of the cluster, and at the trust that is followed from the issuer; a change of either replaces
it whole and wakes the streams that wait. The state comes from the Kubernetes API, or from a directory. Over the API there may be several
replicas: all serve, and one of them leads (`injector/leader.py`), which does what one does for all.
"""

import argparse
import gc
import os
import random  # noqa: TID251 -- the one place of the injector that makes the generator
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import trio

from certs.files import Busy, locked
from certs.kubernetes import Api
from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError
from sidecar.model.trust import INJECTOR, Holder
from sidecar.net.clock import wall_clock
from sidecar.net.dial import Dialer
from sidecar.net.ending import serve_until_told
from sidecar.net.files import follow_files, read_file
from sidecar.net.listener import Tally, listen_unix, serve_listener
from sidecar.net.service import serve_https
from sidecar.net.watched import Watched
from sidecar.telemetry.metrics import Metrics

from .acknowledged import Acknowledged
from .audit.coverage_file import CoverageFile
from .ca_bundle import CaBundle
from .capture import CaptureWatch
from .cluster import Cluster, Ref, Source
from .cluster.api import ApiSource
from .cluster.directory import Directory
from .collect import MAX_BODY_BYTES as MAX_LEDGER_BYTES
from .collect import Collector
from .compile import Compiled, compile_workload
from .compile.edge import EdgeBook
from .compile.edge_status import Told, told_of
from .compile.gateway import is_gateway
from .compile.last_good import LastGood
from .compile.network_book import NetworkBook
from .compile.service_book import ServiceBook
from .config import InjectorConfig, issuer_of, parse_config, settings_of
from .edge_status import EdgeStatus
from .egress.alerts import Alerts
from .events import Events
from .jwks import JwksWatch, fetch_keys
from .leader import Leader, Task
from .operator import SOCKET, Operator
from .opt_out_map import OptOutMap
from .own_certificate import OwnCertificate, Renewal
from .pod_events import PodEvents
from .questions import Questions
from .review import MAX_BODY_BYTES, review
from .settings import SYSTEM, Settings, injector_of
from .stream import Stream
from .trust import TrustWatch

LAST_GOOD = "last-good.json"    # in the state directory
LEDGER = "ledger"
COVERAGE = "coverage.json"      # in LEDGER


class Webhook:
    """The endpoint that the API server calls.

    Args:
        settings: of this moment; they hold the roots for new pods.
        metrics: what is counted here.
    """

    def __init__(self, settings: Callable[[], Settings], cluster: Watched[Cluster], metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._cluster = cluster
        self._metrics = metrics or Metrics()

    async def answer(self, call: Call) -> Answer:
        if call.path == "/healthz" and call.method == "GET":
            return Answer(200, b"ok\n", "text/plain")
        if call.path == "/metrics" and call.method == "GET":
            return Answer(200, self._metrics.render({}).encode(), "text/plain; version=0.0.4; charset=utf-8")
        if call.path not in ("/mutate", "/validate"):
            return Answer.error(404, "the webhook has POST /mutate and /validate only")
        if call.method != "POST":
            return Answer.error(405, "POST an AdmissionReview", ("allow", "POST"))
        if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return Answer.error(415, "content-type must be application/json")
        return review(call.body, self._settings(), self._cluster.current, may_patch=call.path == "/mutate")


async def serve(config: InjectorConfig) -> None:
    """Serve until cancelled. ConfigError if it cannot begin."""
    state = _state_directory(config)
    with ExitStack() as held:
        try:
            held.enter_context(locked(state, wait=False))
        except Busy as exc:
            # Each would write over what the other knows of the evidence, and of whom to trust.
            raise ConfigError("stateDirectory", f"{state}: another injector uses it; end that one first") from exc
        async with trio.open_nursery() as nursery:
            await _serve(config, state, nursery)


async def _serve(config: InjectorConfig, state: Path, nursery: trio.Nursery) -> None:
    """Returns once it serves; tasks of `nursery` go on."""
    rng = random.Random(os.urandom(16))
    api = Api(config.kubernetes) if config.kubernetes is not None else None
    source = _source(config, api, rng, nursery)
    cluster = Watched(await source.begin())
    gc.collect()
    gc.freeze()     # a collection that looks at a whole cluster takes a tenth of a second, in which nothing is admitted
    leader = _leader(config, api, rng, nursery)
    last_good = LastGood.load(state / LAST_GOOD)
    dialer = Dialer()
    trust = TrustWatch(config.issuer_url, state, config.roots_file, dialer)
    own = OwnCertificate(trust)
    ca_bundle = CaBundle(api, injector_of(config.revision), trust, lambda: leader is None or leader.leads.current) if api else None
    settings = settings_of(config)
    book, policies, edges = ServiceBook(config.trust_domain, last_good), NetworkBook(config.trust_domain), EdgeBook(last_good)

    def compile_pod(now: Cluster, uid: str, wanted: Collection[str]) -> Compiled | None:
        compiled = compile_workload(
            now, uid, config.trust_domain, last_good, jwks.keys.current, book, trust.current, wanted, policies, edges,
        )
        last_good.save()
        return compiled

    def told_at_the_edge(now: Cluster) -> dict[Ref, Told]:
        return told_of(now, jwks.keys.current, edges)

    def place_of(uid: str) -> tuple[str, str] | None:
        pod = cluster.current.pods_by_uid.get(uid)
        return (pod.namespace, pod.name) if pod is not None else None

    def leads_out(uid: str) -> bool:
        pod = cluster.current.pods_by_uid.get(uid)
        return pod is not None and is_gateway(pod, cluster.current)

    metrics = Metrics()
    events = Events(api, wall_clock) if api is not None else None
    told = PodEvents(events, cluster, settings, config.revision) if events is not None else None
    alerts = Alerts.open(state, config.learning_days, wall_clock, metrics.count, leads_out, told.anomaly if told is not None else None)
    webhook = Webhook(lambda: msgspec.structs.replace(settings, roots=trust.current.roots), cluster, metrics)
    capture = CaptureWatch(cluster)
    jwks = JwksWatch(cluster, fetch_keys)
    questions, acknowledged = Questions(), Acknowledged()
    stream = Stream(
        cluster, trust.anchors, capture.uncaptured, compile_pod, [jwks.keys],
        issuer=issuer_of(config), own=lambda: Holder(INJECTOR, (ca_bundle.holds if ca_bundle else trust.current.version), own.signer),
        wall=wall_clock, questions=questions, acknowledged=acknowledged,
        collect=Collector.open(state, wall_clock, place_of, alerts.take).answer, tell=told.rules if told is not None else None,
    )

    operator = Operator(
        cluster, questions, stream.text_of, last_good, wall_clock,
        problems_of=stream.problems_of, services=book.of, acknowledged=acknowledged, certificate_ends=lambda: own.ends,
    )
    door = listen_unix(str(state / SOCKET), where="stateDirectory")

    def forget_gone(now: Cluster) -> None:
        stream.forget_gone(now)
        last_good.forget_gone(now)

    async def follow() -> None:
        forget_gone(cluster.current)        # who went while we were away
        async for now in source.changes():
            before = cluster.current
            cluster.set(now)
            if now.has_lost(before):        # it looks at everybody, and most changes take nobody away
                forget_gone(now)

    tally = Tally()
    nursery.start_soon(follow)
    nursery.start_soon(CoverageFile(state / LEDGER / COVERAGE).follow, cluster)
    nursery.start_soon(stream.run)
    nursery.start_soon(capture.run)
    nursery.start_soon(jwks.run)
    nursery.start_soon(trust.run)
    nursery.start_soon(alerts.run)
    if events is not None and told is not None:
        nursery.start_soon(events.run)
        nursery.start_soon(_as_leader, leader, told.tell_skipped)
    if leader is not None and api is not None and events is not None:
        statuses = EdgeStatus(api, cluster, told_at_the_edge, events, wall_clock, _report)
        nursery.start_soon(leader.while_leading, OptOutMap(api, cluster, trust, config.revision, _report).run, statuses.run)
    if ca_bundle is not None:
        nursery.start_soon(ca_bundle.run)
    nursery.start_soon(serve_listener, door, operator.serve, tally)
    await _supply(own, trust, config, dialer, rng, nursery)
    webhook_port = await nursery.start(partial(
        serve_https, config.address, config.webhook_port, own.webhook, webhook.answer,
        max_body_bytes=MAX_BODY_BYTES, tally=tally))
    stream_port = await nursery.start(partial(
        serve_https, config.address, config.stream_port, own.stream, stream.answer,
        trust_domain=config.trust_domain, max_body_bytes=MAX_LEDGER_BYTES, tally=tally))
    print(f"bartizan: injector ready: webhook {webhook_port}, stream {stream_port}", file=sys.stderr, flush=True)


def _state_directory(config: InjectorConfig) -> Path:
    path = Path(config.state_directory)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / LEDGER).mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise ConfigError("stateDirectory", f"{path}: {exc.strerror}") from exc
    return path


def _source(config: InjectorConfig, api: Api | None, rng: random.Random, nursery: trio.Nursery) -> Source:
    if config.directory is not None:
        return Directory(Path(config.directory))
    assert api is not None, "or the configuration was refused"
    source = ApiSource(api, rng, _report)
    nursery.start_soon(source.run)
    return source


def _leader(config: InjectorConfig, api: Api | None, rng: random.Random, nursery: trio.Nursery) -> Leader | None:
    """None where there are no replicas: over a directory."""
    if config.directory is not None or api is None:
        return None
    identity = f"{os.uname().nodename}_{rng.getrandbits(64):016x}"
    leader = Leader(api, SYSTEM, injector_of(config.revision), identity, wall_clock, rng, _report)
    nursery.start_soon(leader.run)
    return leader


async def _as_leader(leader: Leader | None, *tasks: Task) -> None:
    """For ever: what one replica does for all of them."""
    if leader is not None:
        await leader.while_leading(*tasks)
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)


def _report(text: str) -> None:
    print(f"bartizan: {text if text.isprintable() else ascii(text)[1:-1]}", file=sys.stderr, flush=True)


async def _supply(
    own: OwnCertificate, trust: TrustWatch, config: InjectorConfig, dialer: Dialer, rng: random.Random, nursery: trio.Nursery,
) -> None:
    """Returns once there is a certificate; tasks of `nursery` keep it fresh."""
    if config.token_file is not None:
        nursery.start_soon(Renewal(own, trust, config.issuer_url, config.token_file, dialer, wall_clock, rng).run)
        await own.held.wait_change(None)
    else:
        assert config.chain_file is not None, "or the configuration was refused"
        assert config.key_file is not None, "or the configuration was refused"
        files = config.chain_file, config.key_file
        own.take_files(*files)
        nursery.start_soon(follow_files, files, partial(own.take_files, *files))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan injector", description="Run the admission webhook and the snapshot stream.")
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON configuration")
    args = parser.parse_args(argv)
    text = read_file(args.config, "--config")
    try:
        config = parse_config(text)
    except ConfigError as exc:
        raise ConfigError("", f"{args.config}: {exc}") from exc
    trio.run(serve_until_told, partial(serve, config))
    return 0
