"""What one process is started with: `bartizan sidecar --config FILE`. JSON; the snapshot comes with it, from a file, or by stream.

`parse_config` returns a complete valid value or raises ConfigError; no default stands anywhere else.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from . import ports
from .errors import ConfigError
from .value import Port, Value, from_json
from .worker import ALONE, MOST_WORKERS, Worker

LONGEST_PROBE_S = 3600.0    # of one probe or hook
LEAST_LEDGER_BYTES = 65536
HOOK_HEADER = "bartizan-hook"     # in it whoever asks for a hook says its word


class IssuedIdentity(Value, frozen=True, tag="issuer", tag_field="source"):
    """Key in memory, certificate from the issuer.

    Args:
        url: https://host[:port] of the issuer.
        token_file: the pod's projected token.
        roots_file: PEM; the mesh's trust bundle as it was at injection.
        keep_file: where key, certificate and trust are kept over a restart of the container; it must lie in memory-backed storage
            that nobody else mounts. None: the key is nowhere but in this process.
    """

    url: str
    token_file: str
    roots_file: str
    keep_file: str | None = None


class FileIdentity(Value, frozen=True, tag="files", tag_field="source"):
    """Certificate chain (leaf first), key and roots as PEM files; read again when they change."""

    chain_file: str
    key_file: str
    roots_file: str


class SnapshotStream(Value, frozen=True, tag="stream", tag_field="source"):
    """Snapshots pushed by the injector over mTLS. The last good one is kept in `keep_file`, so that a restart serves on."""

    url: str
    keep_file: str | None = None


class SnapshotFile(Value, frozen=True, tag="file", tag_field="source"):
    """A JSON file; read again when it changes. One that does not parse leaves the previous one in force."""

    path: str


class LedgerFiles(Value, frozen=True):
    """Where the evidence of connections is kept until the control plane has it.

    Args:
        folder: the sidecar's own.
        most_bytes: of all its files; what there is no room for is counted and not written.
    """

    folder: str
    most_bytes: Annotated[int, msgspec.Meta(ge=LEAST_LEDGER_BYTES)] = 8 << 20


T = TypeVar("T", IssuedIdentity, SnapshotStream)


class ProbeHeader(Value, frozen=True):
    """A field that the pod's own specification adds to a probe."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,256}(?!\n)$")]
    value: Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*(?!\n)$", max_length=8192)]


# Written out in full: whether text is a default msgspec tells by identity, and admission compares what it once rendered by its bytes.
class Probe(Value, frozen=True, omit_defaults=False):
    """A probe or a hook of the application that admission moved to the health port: the kubelet has no identity. It holds all that
    is needed to ask it, and to put it back.

    Args:
        by: how it is asked; by `tcp` connecting is enough.
        path, headers: of `http` and `https`, as the pod has them.
        service: of `grpc`.
        timeout_s: for all of it.
        port_name: by which the pod names the port, if it does.
        word: of a hook, which changes the application: what whoever asks must say. None: a probe, whose result anybody may hear.
    """

    port: Port
    by: Literal["http", "https", "tcp", "grpc"] = "tcp"
    path: Annotated[str, msgspec.Meta(max_length=8192)] = "/"
    headers: Annotated[tuple[ProbeHeader, ...], msgspec.Meta(max_length=64)] = ()
    service: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_PROBE_S)] = 1.0
    port_name: Annotated[str, msgspec.Meta(max_length=63)] = ""
    word: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}(?!\n)$")] | None = None

    @property
    def is_hook(self) -> bool:
        return self.word is not None


class Interception(Value, frozen=True):
    """What the sidecar must know of the packet rules.

    Args:
        bypass_mark: set on every own socket where the exemption goes by mark and not by UID.
        check_every_s: how often the sidecar tests the rules; 0: it does not, there are none (a gateway, a test).
        probe_within_s: the captured health port must be asked at least this often, or outbound closes; 0: never mind.
    """

    bypass_mark: int | None = None
    check_every_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    probe_within_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Listen(Value, frozen=True):
    """Where to listen. Only tests and unusual machines change the ports; the packet rules must then agree.

    Args:
        gateway: of `bartizan gateway`, which has no packet rules.
        edge: of an ingress gateway: where it listens for each port that clients know.
        health, metrics: of a gateway without packet rules; elsewhere the inbound listener answers for them.
    """

    inbound: Port = ports.INBOUND
    outbound: Port = ports.OUTBOUND
    dns: Port = ports.DNS
    gateway: Port = ports.GATEWAY
    edge: dict[Port, Port] = {}  # noqa: RUF012 -- msgspec copies it for each value
    health: Port = ports.HEALTH
    metrics: Port = ports.METRICS


class Config(Value, frozen=True):
    """
    Args:
        admin_socket: path of the private Unix socket.
        pod_uid: which pod this is, for the issuer and the stream.
        probes: by path on the health port.
        ledger: None: no evidence is kept.
        synthetic_file: where the addresses that stand for names are kept over a restart; None: nowhere.
        workload_api: path of the Unix socket where the application gets an SVID of its own (SPIFFE Workload API); None: it gets none.
        drain_after_s: how long new connections are still served after SIGTERM, each with the word that it is the last exchange. An
            endpoint is withdrawn at the same moment as its pod is told to end, and callers hear of it a second or two later.
        drain_s: how long connections may finish after that. Both together should stay below the pod's terminationGracePeriodSeconds.
        workers: how many processes share the ports of a gateway, under a supervisor; of a sidecar one.
        worker: which of them this process is, from 1, as its supervisor says (`worker_config`); 0: it has no supervisor, or is it.
    """

    admin_socket: str
    snapshot: SnapshotStream | SnapshotFile
    identity: IssuedIdentity | FileIdentity | None = None
    pod_uid: str = ""
    listen: Listen = Listen()
    interception: Interception = Interception()
    probes: dict[str, Probe] = {}  # noqa: RUF012 -- msgspec copies it for each value
    access_log: Literal["json", "off"] = "json"
    ledger: LedgerFiles | None = None
    synthetic_file: str | None = None
    workload_api: str | None = None
    drain_after_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 3.0
    drain_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 5.0
    workers: Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS)] = 1
    worker: Annotated[int, msgspec.Meta(ge=0, le=MOST_WORKERS)] = 0

    @property
    def process(self) -> Worker:
        """Which of its pod's it is."""
        return Worker(self.worker, self.workers) if self.worker else ALONE


def parse_config(data: bytes) -> Config:
    """The configuration that the JSON text `data` holds, or ConfigError."""
    config = from_json(data, Config)
    if isinstance(config.snapshot, SnapshotStream) and config.identity is None:
        raise ConfigError("identity", "the snapshot stream needs an identity")
    if isinstance(config.snapshot, SnapshotStream) and not config.pod_uid:
        raise ConfigError("podUid", "the snapshot stream needs it")
    if config.workload_api is not None and not isinstance(config.identity, IssuedIdentity):
        raise ConfigError("workloadApi", "the application's certificate comes from the issuer; the identity must, too")
    if config.worker > config.workers:
        raise ConfigError("worker", f"there are {config.workers}")
    return config


def with_workers(config: Config, workers: int) -> Config:
    """Another number of them; ConfigError if that is none."""
    if not 1 <= workers <= MOST_WORKERS:
        raise ConfigError("workers", f"there can be 1 to {MOST_WORKERS}")
    return replace(config, workers=workers)


def worker_config(config: Config, number: int) -> Config:
    """That of one worker of several: what a process has for itself gets its number, and all of them together take the room of one.

    Args:
        number: from 1.
    """
    def own(path: str) -> str:
        return f"{path}.{number}"

    def kept(source: T) -> T:
        return replace(source, keep_file=own(source.keep_file)) if source.keep_file is not None else source

    identity, snapshot, ledger = config.identity, config.snapshot, config.ledger
    return replace(
        config,
        worker=number,
        admin_socket=own(config.admin_socket),
        identity=kept(identity) if isinstance(identity, IssuedIdentity) else identity,
        snapshot=kept(snapshot) if isinstance(snapshot, SnapshotStream) else snapshot,
        ledger=LedgerFiles(own(ledger.folder), max(ledger.most_bytes // config.workers, LEAST_LEDGER_BYTES)) if ledger else None,
        synthetic_file=own(config.synthetic_file) if config.synthetic_file is not None else None,
    )
