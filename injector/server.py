"""`bartizan injector --config FILE`: the admission webhook and the snapshot stream, over one watched source of objects.

    webhook   POST /mutate, /validate    HTTPS; the API server verifies us, what it sends is judged by `injector/review.py`
    stream    GET /v1/snapshot           mTLS; a sidecar gets the snapshot of its own pod (`injector/stream.py`)

Both look at the same immutable state of the cluster; a change replaces it whole and wakes the streams that wait.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import trio

from sidecar.model.call import Answer, Call
from sidecar.model.errors import ConfigError
from sidecar.model.snapshot import Snapshot
from sidecar.net.files import follow_files, read_file
from sidecar.net.listener import Tally
from sidecar.net.memory import keep_memory_private
from sidecar.net.service import serve_https
from sidecar.net.tls_context import ServerCredentials, load_certificates, load_private_key
from sidecar.net.watched import Watched

from .capture import CaptureWatch
from .cluster import Cluster
from .cluster.directory import Directory
from .compile import compile_workload
from .compile.last_good import LastGood
from .compile.services import Services, compile_services
from .config import InjectorConfig, parse_config
from .jwks import JwksWatch, fetch_keys
from .review import MAX_BODY_BYTES, review
from .settings import Settings
from .stream import Stream


def load_credentials(config: InjectorConfig) -> tuple[ServerCredentials, ServerCredentials]:
    """(the webhook's, the stream's, which demands a client certificate): one certificate and key, or ConfigError naming the file."""
    chain = load_certificates(read_file(config.chain_file, "chainFile"), "chainFile")
    key = load_private_key(read_file(config.key_file, "keyFile"), "keyFile")
    if key.public_key() != chain[0].public_key():
        raise ConfigError("keyFile", "the key does not belong to the certificate in chainFile")
    roots = load_certificates(read_file(config.roots_file, "rootsFile"), "rootsFile")
    return ServerCredentials(chain, key), ServerCredentials(chain, key, roots)


class Webhook:
    """The endpoint that the API server calls."""

    def __init__(self, settings: Settings, cluster: Watched[Cluster]) -> None:
        self._settings = settings
        self._cluster = cluster

    async def answer(self, call: Call) -> Answer:
        if call.path == "/healthz" and call.method == "GET":
            return Answer(200, b"ok\n", "text/plain")
        if call.path not in ("/mutate", "/validate"):
            return Answer(404, b'{"error": "the webhook has POST /mutate and /validate only"}')
        if call.method != "POST":
            return Answer(405, b'{"error": "POST an AdmissionReview"}', headers=(("allow", "POST"),))
        if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return Answer(415, b'{"error": "content-type must be application/json"}')
        return review(call.body, self._settings, self._cluster.current)


async def serve(config: InjectorConfig) -> None:
    """Serve until cancelled. ConfigError if it cannot begin."""
    settings = Settings(
        image=config.image, issuer_url=config.issuer_url, stream_url=config.stream_url,
        roots=read_file(config.roots_file, "rootsFile").decode("ascii", "replace"), bypass=config.bypass, mark=config.mark,
    )
    directory = Directory(Path(config.directory))
    cluster = Watched(directory.read())
    last_good = LastGood.load(Path(config.state_file))
    credentials = load_credentials(config)

    def take_credentials() -> None:
        nonlocal credentials
        credentials = load_credentials(config)

    services: tuple[Cluster, Services] | None = None     # the same for all pods

    def compile_pod(now: Cluster, uid: str) -> tuple[Snapshot, tuple[str, ...]] | None:
        nonlocal services
        if services is None or services[0] is not now:
            services = now, compile_services(now, config.trust_domain, last_good)
        compiled = compile_workload(now, uid, config.trust_domain, last_good, jwks.keys.current, services[1])
        if compiled is None:
            return None
        last_good.save()
        return compiled.snapshot, compiled.problems

    async def follow() -> None:
        async for state in directory.changes():
            cluster.set(state)

    webhook = Webhook(settings, cluster)
    capture = CaptureWatch(cluster)
    jwks = JwksWatch(cluster, fetch_keys)
    stream = Stream(cluster, capture.uncaptured, compile_pod, [jwks.keys])
    tally = Tally()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        nursery.start_soon(capture.run)
        nursery.start_soon(jwks.run)
        nursery.start_soon(follow_files, (config.chain_file, config.key_file, config.roots_file), take_credentials)
        webhook_port = await nursery.start(partial(
            serve_https, config.address, config.webhook_port, lambda: credentials[0], webhook.answer,
            max_body_bytes=MAX_BODY_BYTES, tally=tally))
        stream_port = await nursery.start(partial(
            serve_https, config.address, config.stream_port, lambda: credentials[1], stream.answer,
            trust_domain=config.trust_domain, tally=tally))
        print(f"bartizan: injector ready: webhook {webhook_port}, stream {stream_port}", file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan injector", description="Run the admission webhook and the snapshot stream.")
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON configuration")
    args = parser.parse_args(argv)
    text = read_file(args.config, "--config")
    try:
        config = parse_config(text)
    except ConfigError as exc:
        raise ConfigError("", f"{args.config}: {exc}") from exc
    keep_memory_private()
    trio.run(serve, config)
    return 0
