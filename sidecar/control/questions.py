"""The operator's questions to this sidecar. They come as answers of the snapshot stream, so that no connection waits for them, and are
answered one at a time by POST /v1/answers?pod=UID&id=ID.

One that comes while another is answered is dropped: whoever asked hears of it by the clock. So is one that cannot be read, of a control
plane that is newer than we are.
"""

import sys
from collections.abc import Awaitable, Callable

import msgspec
import trio

from sidecar.model.config import SnapshotStream
from sidecar.model.errors import ConfigError, ConnectFailed, MeshError
from sidecar.model.explanation import Asked, Explanation, Question
from sidecar.model.value import from_json
from sidecar.net.dial import Dialer
from sidecar.net.listener import Tally
from sidecar.net.service import call_https, control_addresses
from sidecar.net.tls_mesh import MeshTls
from sidecar.net.watched import Watched

ANSWER_S = 10.0     # for the answer to reach the injector


class Questions:
    """
    Args:
        config: where the injector is.
        explain: works an answer out, in seconds.
        tally: counts its bugs.
    """

    def __init__(
        self, config: SnapshotStream, pod_uid: str, tls: Watched[MeshTls | None], dialer: Dialer,
        explain: Callable[[Question], Awaitable[Explanation]], tally: Tally,
    ) -> None:
        self._url = f"{config.url.rstrip('/')}/v1/answers?pod={pod_uid}"
        self._tls = tls
        self._dialer = dialer
        self._explain = explain
        self._tally = tally
        self._put, self._taken = trio.open_memory_channel[Asked](0)

    def take(self, text: bytes) -> None:
        """Returns at once."""
        try:
            self._put.send_nowait(from_json(text, Asked))
        except (ConfigError, trio.WouldBlock) as exc:
            print(f"bartizan: a question was not taken: {exc or 'another is being answered'}", file=sys.stderr, flush=True)

    async def run(self) -> None:
        """For ever."""
        async for asked in self._taken:
            try:
                await self._answer(asked)
            except (MeshError, trio.TooSlowError, OSError) as exc:
                print(f"bartizan: a question was not answered: {exc or 'no answer in time'}", file=sys.stderr, flush=True)
            except Exception as exc:  # noqa: BLE001 -- the supervisor of questions: no traffic ends with one
                self._tally.report(exc)

    async def _answer(self, asked: Asked) -> None:
        explanation = await self._explain(asked.question)
        tls = self._tls.current
        if tls is None:
            raise ConnectFailed("no certificate to answer with")
        url = f"{self._url}&id={asked.id}"
        with trio.fail_after(ANSWER_S):
            answer = await call_https(
                self._dialer, await control_addresses(url), url, "POST", roots=tls.anchors.roots, credentials=tls.credentials,
                body=msgspec.json.encode(explanation), deny=tls.anchors.deny,
            )
        if answer.status != 200:
            raise ConnectFailed(f"answered {answer.status}: {answer.body[:300].decode('utf-8', 'replace')}")
