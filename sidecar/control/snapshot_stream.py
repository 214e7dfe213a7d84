"""Snapshots from the injector, over mTLS: a standing question that is answered when there is something new.

The question says what trust is held and under which root our certificate stands: this is how the mesh learns that a rotation of its
root may go on. So it is asked anew at once when either changes. And the answer may be a question itself: the operator's, to this
sidecar (202; `questions.py`).

A snapshot is taken whole or not at all. The last one taken is kept in memory-backed storage of the sidecar's own, so that a
restarted container serves on while the injector is away. What cannot be taken is refused with its reason, and the previous one
stays in force.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from sidecar.model.call import Answer
from sidecar.model.config import SnapshotStream
from sidecar.model.errors import BadResponse, ConfigError, ConnectFailed, MeshError
from sidecar.model.needs import Needs
from sidecar.model.snapshot import digest
from sidecar.model.worker import ALONE, Worker
from sidecar.net.dial import Dialer
from sidecar.net.files import keep
from sidecar.net.service import call_https, control_addresses
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched

from .keyring import Keyring

ANSWER_S = 45.0     # the injector answers 304 after 30 s without news
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 10.0
MOST_WORDS = 500    # of why a snapshot is not taken


async def run_snapshot_stream(
    config: SnapshotStream, pod_uid: str, keyring: Keyring, dialer: Dialer, take: Callable[[bytes], None],
    asked: Callable[[bytes], None], wanted: Watched[tuple[str, ...]], process: Worker = ALONE,
) -> None:
    """For ever.

    Args:
        wanted: Services that it is asked for besides those of the own namespace; more of them are asked for at once.
        take: takes a snapshot's text, or raises ConfigError and changes nothing.
        asked: takes a question's text, and returns at once.
        process: which of the pod's is asking.
    """
    seen, refused, unread = _take_kept(config.keep_file, take), "", ""
    pause = RETRY_FIRST_S
    while True:
        try:
            held = keyring.tls.current
            if held is None:
                await keyring.tls.wait_change(None)
                continue
            holds = f"trust={keyring.version}" + (f"&signer={keyring.signer}" if keyring.signer else "")
            url = f"{config.url.rstrip('/')}/v1/snapshot?pod={pod_uid}{process.query}&seen={seen}&{holds}"
            answer = await _ask(url, held, keyring, dialer, wanted, unread or refused)
            if answer is None:
                continue    # what is held changes rarely, and by our own doing: no flood
            if answer.status not in (200, 202, 304):
                raise ConnectFailed(f"answered {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}")
            pause, unread = RETRY_FIRST_S, ""
            if answer.status == 202:
                asked(answer.body)
            elif answer.status == 200:
                seen, refused = digest(answer.body), ""
                take(answer.body)
                if config.keep_file is not None:
                    keep(config.keep_file, answer.body)
        except ConfigError as exc:
            refused = str(exc)[:MOST_WORDS] or "it cannot be taken"
            print(f"bartizan: kept the previous snapshot: {exc}", file=sys.stderr, flush=True)
        except (MeshError, trio.TooSlowError, OSError) as exc:
            why = str(exc) or "no answer in time"
            unread = why[:MOST_WORDS] if isinstance(exc, BadResponse) else ""     # it came, and the injector should know
            print(f"bartizan: no snapshot from {config.url}: {why}", file=sys.stderr, flush=True)
            await trio.sleep(pause)
            pause = min(2 * pause, RETRY_MOST_S)
            continue
        await trio.sleep(RETRY_FIRST_S)     # a flurry of changes is taken together, and whatever is wrong there is no flood


async def _ask(
    url: str, held: MeshTls, keyring: Keyring, dialer: Dialer, wanted: Watched[tuple[str, ...]], refused: str
) -> Answer | None:
    """None: something else is held or wanted meanwhile. An answer that came in the same moment counts."""
    needs = Needs(wanted.current, refused)
    answer: Answer | None = None
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def watch(watched: Watched[Any], seen: object) -> None:
            await watched.wait_change(seen)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch, keyring.tls, held)
        nursery.start_soon(watch, wanted, needs.wanted)
        try:    # within the nursery, which would wrap what is raised
            with trio.fail_after(ANSWER_S):
                answer = await call_https(
                    dialer, await control_addresses(url), url, "POST",
                    roots=held.anchors.roots, credentials=held.credentials, deny=held.anchors.deny,
                    body=msgspec.json.encode(needs), headers=[(b"content-type", b"application/json")],
                )
        except (MeshError, trio.TooSlowError, OSError) as exc:
            failure = exc
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return answer


def _take_kept(path: str | None, take: Callable[[bytes], None]) -> str:
    """Start from what was kept, if it can be taken; returns its digest, or ''."""
    if path is None or not os.path.exists(path):
        return ""
    try:
        with open(path, "rb") as file:
            text = file.read()
        take(text)
    except (OSError, ConfigError) as exc:
        print(f"bartizan: the kept snapshot is unusable: {exc}", file=sys.stderr, flush=True)
        return ""
    return digest(text)
