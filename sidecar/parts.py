"""All the parts of one sidecar, or of one gateway: built once, and what runs of them for as long as the process serves.

What no sidecar needs to be ready is loaded by whoever needs it: what serves clients at the edge, what answers an operator's question.

The tree of tasks: main > {redirect check, identity, the application's, clock, snapshot, health's watch, pool's broom, admin, workload
API, ledger's shipping, client certificates, inbound, outbound, DNS guard} > one task per connection > (a request body still arriving) one
more.
"""

import os
import random  # noqa: TID251 -- the one place that makes the generator
from functools import cache, partial
from itertools import count
from typing import TYPE_CHECKING

import trio
from msgspec.structs import replace

from .control.admin import Admin
from .control.agent import Agent
from .control.application_svid import ApplicationSvid
from .control.clock_watch import ClockWatch
from .control.file_identity import load_credentials
from .control.health import Health, metrics_handler
from .control.issuance import Obtained, obtain
from .control.keyring import Keyring
from .control.ledger_shipping import Shipping
from .control.questions import Questions
from .control.redirect_check import UNTESTED, RedirectVerdict, run_redirect_check
from .control.snapshot_stream import run_snapshot_stream
from .control.workload_api import MOST_CONNECTIONS, WorkloadApi
from .doors import Doors, Handlers, loopback
from .model import ports
from .model.config import Config, FileIdentity, IssuedIdentity, SnapshotFile, SnapshotStream
from .model.explanation import Explanation, Question
from .model.snapshot import Snapshot, digest, parse_snapshot
from .net.anchors import Anchors
from .net.canary import CanaryArrivals
from .net.clock import wall_clock
from .net.datagram import bind_udp, serve_datagrams
from .net.dial import Dialer
from .net.files import follow_files, read_file
from .net.listener import ConnectionHandler, Tally, listen_unix, serve_listener
from .net.resolve import Resolver
from .net.watched import Watched
from .policy.rules import Rules
from .proxy.dns_guard import DnsGuard
from .proxy.gateway import serve_gateway
from .proxy.inbound import serve_inbound
from .proxy.originate import Originator
from .proxy.outbound import serve_outbound
from .proxy.runtime import Runtime
from .proxy.synthetic import Synthetic
from .supervisor import end_with_supervisor
from .telemetry.access_log import AccessLog, stdout_log
from .telemetry.ledger import Ledger
from .telemetry.metrics import Metrics

if TYPE_CHECKING:
    from .proxy.access import Clients

BROOM_EVERY_S = 10.0
TELL_OPEN_TURNS = 60    # an entry of the ledger each ten minutes for what lasts
WATCH_EVERY_S = 0.25
CANARY_WITHIN_S = 1.0
LAST_SHIPPING_S = 2.0


class EachTurn(trio.abc.Instrument):
    """What is done when all that can be done now is done, before more is waited for."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log

    def before_io_wait(self, timeout: float) -> None:
        self._log.flush()

    def after_run(self) -> None:
        self._log.flush()


class Sidecar:
    """The parts of one sidecar. Building it binds every port and takes the first snapshot and certificate from files.

    Args:
        is_gateway: without packet rules, and so without an application.
    """

    def __init__(self, config: Config, *, is_gateway: bool = False) -> None:
        if is_gateway:
            config = replace(config, interception=replace(config.interception, check_every_s=0.0, probe_within_s=0.0))
        self.config = config
        mark = config.interception.bypass_mark
        self.tally = Tally()
        self.arrivals = CanaryArrivals()
        self.verdict: Watched[RedirectVerdict] = Watched(UNTESTED if config.interception.check_every_s else RedirectVerdict())
        self.runtime = Runtime(
            rules=Watched(None),
            tls=Watched(None),
            is_outbound_open=Watched(self.verdict.current.is_intact),
            dialer=Dialer(mark),
            log=stdout_log() if config.access_log == "json" else AccessLog(None),
            ledger=Ledger(config.ledger.folder, config.ledger.most_bytes, wall_clock) if config.ledger else Ledger(None, 0, wall_clock),
            metrics=Metrics(),
            wall=wall_clock,
            rng=random.Random(os.urandom(16)),
            share=config.process.of,
            synthetic=Synthetic(config.synthetic_file),
        )
        self.keyring = Keyring(self.runtime.tls)
        self.resolver = Resolver(mark)
        self.originator = Originator(self.runtime.rules, self.resolver)
        self.guard = DnsGuard(self.runtime, self.resolver)
        self.health = Health(config, self.obstacles, self.wait_own_address, self.runtime.dialer)
        self.agent = (
            Agent(config.identity, self.keyring, self.runtime.dialer, wall_clock, self.runtime.rng)
            if isinstance(config.identity, IssuedIdentity) else None
        )
        self.shipping = (
            Shipping(config.snapshot, config.pod_uid, self.runtime.ledger, self.runtime.tls, self.runtime.dialer, config.process)
            if config.ledger is not None and isinstance(config.snapshot, SnapshotStream) else None
        )
        self.questions = (
            Questions(config.snapshot, config.pod_uid, self.runtime.tls, self.runtime.dialer, self._explain, self.tally)
            if isinstance(config.snapshot, SnapshotStream) else None
        )
        clock_jumped = self.agent.clock_jumped if self.agent else lambda: None
        self.clock = ClockWatch(wall_clock, trio.current_time, self.runtime.ledger.add, clock_jumped)
        self.application: ApplicationSvid | None = None
        if config.workload_api is not None and isinstance(config.identity, IssuedIdentity):
            self.application = ApplicationSvid(
                partial(self._obtain_for_application, config.identity),
                self.runtime.tls, self.keyring.take_trust, wall_clock, self.runtime.rng, self.runtime.metrics,
            )
            # The application runs as another user; that it cannot put a socket of its own there, its read-only mount sees to.
            self.workload_listener = listen_unix(config.workload_api, 0o666, "workloadApi")
        if isinstance(config.identity, FileIdentity):
            self.take_identity_files(config.identity)
        if isinstance(config.snapshot, SnapshotFile):
            self.take_snapshot_file(config.snapshot)
        self.doors = Doors(config, is_gateway=is_gateway)
        self.dns = [] if is_gateway else [bind_udp(host, config.listen.dns) for host in loopback()]
        self.admin_listener = listen_unix(config.admin_socket)
        rotate, renewal = (self.agent.rotate, self.agent.renewal) if self.agent else (None, None)
        self.metrics = metrics_handler(self.runtime.metrics, self.gauges)
        self.admin = Admin(self.taken, self.keyring, self.obstacles, rotate, renewal, self.metrics)

    # -- what is true now

    def obstacles(self) -> list[str]:
        """What stands against being ready, in words."""
        found = []
        if self.runtime.draining.current:
            found.append("draining")
        if self.runtime.rules.current is None:
            found.append("no snapshot yet")
        if self.config.identity is not None and self.runtime.valid_tls() is None:
            found.append(self.agent.why_none() if self.agent else "no valid certificate")
        return [*found, *(f"packet rules: {lost}" for lost in self.lost_rules())]

    def lost_rules(self) -> list[str]:
        """What our own test and the injector's find missing, in words."""
        rules = self.runtime.rules.current
        uncaptured = rules.snapshot.workload.uncaptured if rules else ()
        return [*self.verdict.current.lost, *(f"what enters at {address} passes the sidecar by" for address in uncaptured)]

    async def wait_own_address(self) -> str:
        """By which the kubelet knows this pod. Not that to which the caller came: any packet that is sent our way ends here."""
        rules = self.runtime.rules.current
        while rules is None or not rules.snapshot.workload.addresses:
            rules = await self.runtime.rules.wait_change(rules)
        return rules.snapshot.workload.addresses[0]

    def taken(self) -> tuple[Snapshot, str] | None:
        """The snapshot in force and its digest."""
        rules = self.runtime.rules.current
        return (rules.snapshot, rules.digest) if rules else None

    def gauges(self) -> dict[str, float]:
        tls = self.runtime.tls.current
        return {
            "bartizan_ready": float(not self.obstacles()),
            "bartizan_redirect_intact": float(not self.lost_rules()),
            "bartizan_identity_not_after_seconds": tls.credentials.not_after if tls else 0.0,
            **(self.agent.gauges() if self.agent else {}),
            "bartizan_trust_version": self.keyring.trust.version if self.keyring.trust else 0,
            "bartizan_clock_jumps_total": self.clock.jumps,
            "bartizan_bugs_total": self.tally.bugs,
            "bartizan_access_log_dropped_total": self.runtime.log.dropped,
            "bartizan_dns_stale_answers_total": self.resolver.stale,
            "bartizan_ledger_shed_total": self.runtime.ledger.shed,
        }

    # -- what is taken

    def take_snapshot(self, text: bytes) -> None:
        """Whole or, with ConfigError, not at all."""
        rules = Rules.of(parse_snapshot(text), digest(text))
        if rules.snapshot.trust is not None:
            self.keyring.take_trust(rules.snapshot.trust)
        # Known by address before anybody asks for them by name: an application may remember more than our file.
        self.runtime.synthetic.give(host.host for host in rules.snapshot.outbound.hosts if host.tcp_ports and host.host[0] != "*")
        self.runtime.discovery.begin(rules)
        self.runtime.rules.set(rules)
        self.runtime.endpoints.follow(rules, trio.current_time())
        self.runtime.edge_hosts.follow(rules.snapshot.edge)

    def take_snapshot_file(self, source: SnapshotFile) -> None:
        self.take_snapshot(read_file(source.path, "snapshot.path"))

    async def _obtain_for_application(self, identity: IssuedIdentity, anchors: Anchors) -> Obtained:
        return await obtain(identity, anchors.roots, self.runtime.dialer, "application", anchors.deny)

    def take_identity_files(self, files: FileIdentity) -> None:
        self.keyring.take_files(*load_credentials(files))

    async def _explain(self, question: Question) -> Explanation:
        from .proxy.explain import explain

        return await explain(question, self.runtime, self.originator, self.guard, self.lost_rules())

    # -- what runs

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        own_endpoints = {ports.HEALTH: self.health.handle, ports.METRICS: self.metrics}
        gateway = partial(serve_gateway, runtime=self.runtime, originator=self.originator)
        inbound = partial(serve_inbound, runtime=self.runtime, own_endpoints=own_endpoints, gateway=gateway)
        outbound = partial(serve_outbound, runtime=self.runtime, originator=self.originator, guard=self.guard, arrivals=self.arrivals)

        @cache
        def clients() -> "Clients":
            from .proxy.access import Clients

            return Clients(self.originator, self.runtime)

        def edge(port: int) -> ConnectionHandler:
            from .proxy.edge import serve_edge

            return partial(serve_edge, port=port, runtime=self.runtime, clients=clients())

        trio.lowlevel.add_instrument(EachTurn(self.runtime.log))
        async with trio.open_nursery() as nursery:
            self.doors.open(nursery, Handlers(inbound, outbound, gateway, edge, self.health.handle, self.metrics), self.tally)
            for sock in self.dns:
                nursery.start_soon(serve_datagrams, sock, self.guard.answer, self.arrivals.udp, self.tally)
            # The admin's connections are not traffic: they neither count nor are waited for.
            nursery.start_soon(serve_listener, self.admin_listener, self.admin.serve, Tally())
            if self.application is not None:
                nursery.start_soon(self.application.run)
                api = WorkloadApi(self.application, self.runtime.tls)
                nursery.start_soon(serve_listener, self.workload_listener, api.serve, Tally(), MOST_CONNECTIONS)
            nursery.start_soon(self._sweep)
            nursery.start_soon(self.runtime.accounts.run, self.runtime.tls, self.runtime.why_no_longer)
            nursery.start_soon(self.runtime.withdrawals.run, self.runtime.rules)
            nursery.start_soon(self.clock.run)
            nursery.start_soon(self.originator.files.follow)
            nursery.start_soon(self.runtime.mirrors.run, self.runtime.pool, self.tally)
            if self.shipping is not None:
                nursery.start_soon(self.shipping.run)
            if self.config.interception.check_every_s:
                nursery.start_soon(self._watch_interception)
            if self.config.worker:
                nursery.start_soon(end_with_supervisor)
            self._start_sources(nursery)
            task_status.started()

    def _start_sources(self, nursery: trio.Nursery) -> None:
        config = self.config
        if self.agent is not None:
            nursery.start_soon(self.agent.run)
        elif isinstance(config.identity, FileIdentity):
            files = (config.identity.chain_file, config.identity.key_file, config.identity.roots_file)
            nursery.start_soon(follow_files, files, partial(self.take_identity_files, config.identity))
        if isinstance(config.snapshot, SnapshotStream):
            assert self.questions is not None, "where there is a stream"
            nursery.start_soon(self.questions.run)
            nursery.start_soon(run_snapshot_stream, config.snapshot, config.pod_uid, self.keyring, self.runtime.dialer, self.take_snapshot,
                               self.questions.take, self.runtime.discovery.wanted, config.process)
        else:
            nursery.start_soon(follow_files, (config.snapshot.path,), partial(self.take_snapshot_file, config.snapshot))

    async def _watch_interception(self) -> None:
        """Outbound is open while the sidecar's own test holds and the captured health port is being asked: until we drain, for then
        it cannot be asked any longer, and the application has its last things to say.
        """
        settings = self.config.interception
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(
                run_redirect_check, self.verdict, self.arrivals,
                interval_s=settings.check_every_s, within_s=CANARY_WITHIN_S, mark=settings.bypass_mark,
            ))
            while True:
                age_s = trio.current_time() - self.health.asked_at.current
                is_asked = not settings.probe_within_s or age_s < settings.probe_within_s or self.runtime.draining.current
                self.runtime.is_outbound_open.set(not self.lost_rules() and is_asked)
                await trio.sleep(WATCH_EVERY_S)

    async def _sweep(self) -> None:
        for turn in count(1):
            await trio.sleep(BROOM_EVERY_S)
            self.runtime.pool.expire()
            self.runtime.accounts.part(self.runtime.why_no_longer)
            if turn % TELL_OPEN_TURNS == 0:
                self.runtime.accounts.tell_open()

    async def drain(self) -> None:
        """Not ready from now on, and whoever asks is told to go elsewhere; then nobody enters any more. Outbound stays open: an
        application that ends still has to write and to sign off. Returns when every connection has ended, or their time is over.
        """
        self.runtime.draining.set(True)
        await trio.sleep(self.config.drain_after_s)
        self.doors.close()
        for deadline in self.runtime.idle:
            deadline.downstream("next request", 0)
        with trio.move_on_after(self.config.drain_s):
            while (open_now := self.tally.open.current) > 0:
                await self.tally.open.wait_change(open_now)

    async def conclude(self) -> None:
        """When nothing runs any more: the last lines of the ledger, and a last try to ship them."""
        self.runtime.pool.close()
        self.runtime.ledger.close()
        if self.shipping is not None:
            with trio.move_on_after(LAST_SHIPPING_S):
                await self.shipping.ship_once()
