"""One collection of the API server's, followed for ever: listed page by page, then watched, from where the last watch ended.

    listed --> watched --> ended as agreed, or cut: watched again from the last version that was heard of
                  |
                  +------> 410, the version is too old: listed again; what comes of that is the difference

After each a pause, which doubles up to half a minute while nothing is heard, less a random part, so that not all who were cut off come
back at once; or as long as the API server asks for. What it does not have, or does not let us read, is asked for again at that pace,
too: the right, or the definition, may come.
"""

import random  # noqa: TID251 -- the generator's type
from collections.abc import Callable

import trio

from certs.kubernetes import FORBIDDEN, GONE, NO_ANSWER, NOT_FOUND, Api, ApiError

from . import Ref
from .kinds import Collection
from .objects import Json
from .reflector import Changes, Reflector

LEAST_S, MOST_S = 300, 600      # how long the API server is asked to let a watch last
SILENCE_S = 60.0                # where nothing changes it says nothing (1.36, measured): then the watch is begun anew, which costs little
AT_ONCE = 10                    # objects, before others have their turn
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 30.0
MOST_ASKED_S = 120.0            # of what Retry-After may ask for
LASTED_S = 10.0                 # a watch that did is none that fails again and again

CURES = {
    FORBIDDEN: "grant the injector's service account get, list and watch of them",
    NOT_FOUND: "apply their definitions: `bartizan schema crd | kubectl apply -f -`",
}


class Watch:
    """
    Args:
        tell: takes what changed.
        report: one line when the collection cannot be followed, and one when it can again.

    Attributes:
        is_listed: what there is was told, once at least.
        is_settled: or the API server has said that it will not show it.
    """

    def __init__(
        self, api: Api, collection: Collection, tell: Callable[[Changes], None], report: Callable[[str], None], rng: random.Random,
    ) -> None:
        self.reflector = Reflector(collection, report)
        self.is_listed = trio.Event()
        self.is_settled = trio.Event()
        self._api = api
        self._collection = collection
        self._tell = tell
        self._report = report
        self._rng = rng
        self._failure = ""

    async def run(self) -> None:
        """For ever."""
        pause = RETRY_FIRST_S
        while True:
            began, version, asked_s = trio.current_time(), self.reflector.version, 0.0
            try:
                if not version:
                    version = await self._list()
                await self._follow()
            except ApiError as exc:
                asked_s = min(exc.retry_after_s, MOST_ASKED_S)
                self._failed(exc, is_first=pause == RETRY_FIRST_S)
            has_moved = self.reflector.version not in ("", version)
            if has_moved or trio.current_time() >= began + LASTED_S:
                pause = RETRY_FIRST_S
            await trio.sleep(max(asked_s, pause * self._rng.uniform(0.5, 1.0)))
            pause = min(2 * pause, RETRY_MOST_S)

    async def _list(self) -> str:
        one = self._collection
        found: dict[Ref, Json | None] = {}
        version = ""
        async for items, as_of in self._api.pages(one.path, one.query, accept=one.kind.accept(b"List")):
            version = as_of
            for at in range(0, len(items), AT_ONCE):
                found |= self.reflector.read(items[at:at + AT_ONCE])
                await trio.lowlevel.checkpoint()        # admission must not wait for a page
        if not version:
            raise ApiError(NO_ANSWER, f"the API server's list of {self._collection} has no resourceVersion")
        self._tell(self.reflector.listed(found, version))
        self._succeeded()
        self.is_listed.set()
        self.is_settled.set()
        return version

    async def _follow(self) -> None:
        """Until the API server ends it."""
        query = "&".join(part for part in (
            self._collection.query, "watch=true", "allowWatchBookmarks=true", f"resourceVersion={self.reflector.version}",
            f"timeoutSeconds={self._rng.randint(LEAST_S, MOST_S)}",
        ) if part)
        path, accept = f"{self._collection.path}?{query}", self._collection.kind.accept(b"")
        async with self._api.watch(path, silence_s=SILENCE_S, accept=accept) as lines:
            while found := await lines.next():
                for line in found:
                    self._tell(self.reflector.event(line))
                self._succeeded()

    def _failed(self, exc: ApiError, *, is_first: bool) -> None:
        """A watch that is cut once is everyday; what fails again is told, and what the API server refuses."""
        if exc.status == NOT_FOUND and self._collection.kind.is_optional:
            self._tell(self.reflector.ended())      # its definition may come, or come back
            self.is_listed.set()
            self.is_settled.set()
            return
        if exc.status == GONE or (is_first and exc.status == NO_ANSWER and self.is_listed.is_set()):
            if exc.status == GONE:
                self.reflector.version = ""
            return
        if str(exc) != self._failure:
            self._failure = str(exc)
            cure = f"; {CURES[exc.status]}" if exc.status in CURES else ""
            counts = "what was read before counts" if self.is_listed.is_set() else "it counts as if there were none"
            self._report(f"{self._collection} cannot be followed, {counts}, and it is tried again: {exc}{cure}")
        if exc.status in (FORBIDDEN, NOT_FOUND):
            self.is_settled.set()

    def _succeeded(self) -> None:
        if self._failure:
            self._failure = ""
            self._report(f"{self._collection} can be followed again")
