"""The Kubernetes API as the cluster: each kind is listed and watched (`watch.py`), and what changes within a moment is one change.

The first state is there when every kind was listed, and every Secret that is named by then was shown or refused. Secrets are followed by
name, those that policies and annotations name (`secret_names.py`), and no others: a right to list all Secrets is not asked for.
"""

import random  # noqa: TID251 -- the generator's type
from collections.abc import AsyncIterator, Callable
from functools import partial

import trio

from certs.kubernetes import Api
from sidecar.model.errors import ConfigError

from . import EMPTY, Cluster, Key, Ref
from .kinds import KINDS, SECRETS, Collection
from .objects import Json
from .reflector import Changes
from .secret_names import SecretNames
from .watch import Watch

COALESCE_S = 0.05       # what comes within it is one change
SETTLE_S = 2.0          # how long a change waits for the Secrets that it names


class _Secret:
    """One that is followed by its name."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.scope = trio.CancelScope()
        self.is_begun = False

    async def run(self) -> None:
        with self.scope:
            await self.watch.run()


class ApiSource:
    """
    Args:
        rng: for pauses, so that replicas do not come at once.
    """

    def __init__(self, api: Api, rng: random.Random, report: Callable[[str], None]) -> None:
        self._api = api
        self._rng = rng
        self._report = report
        self._state = EMPTY
        self._pending: dict[Ref, Json | None] = {}
        self._is_pending = trio.Event()
        self._names = SecretNames(report)
        self._secrets: dict[Key, _Secret] = {}
        self._are_others_named = trio.Event()
        self._kinds = [Watch(api, Collection(kind), self._take, report, rng) for kind in KINDS]

    async def run(self) -> None:
        """For ever; `begin` and `changes` wait for what it finds."""
        async with trio.open_nursery() as nursery:
            for watch in self._kinds:
                nursery.start_soon(watch.run)
            while True:
                self._are_others_named = trio.Event()
                for secret in self._secrets.values():
                    if not secret.is_begun:
                        secret.is_begun = True
                        nursery.start_soon(secret.run)
                await self._are_others_named.wait()

    async def begin(self) -> Cluster:
        """Waits until there is a whole state. ConfigError if a policy in it cannot be read, since it may be what restricts."""
        for watch in self._kinds:
            await watch.is_listed.wait()
        for watch in self._kinds:
            collection, unreadable = watch.reflector.collection, watch.reflector.unreadable
            if collection.kind.counts_from_the_start and unreadable:
                names = ", ".join(sorted(name for _, _, name in unreadable))
                raise ConfigError("kubernetes", f"{collection} that cannot be read: {names}; correct or delete them, since there are no "
                                                "earlier versions to go on with")
        await self._settle()
        return self._next()

    async def changes(self) -> AsyncIterator[Cluster]:
        """A new state after each change, for ever."""
        while True:
            await self._is_pending.wait()
            await trio.sleep(COALESCE_S)
            await self._settle()
            yield self._next()

    def _next(self) -> Cluster:
        changed, self._pending = self._pending, {}
        self._is_pending = trio.Event()
        self._state = self._state.having(changed)
        return self._state

    def _take(self, changes: Changes) -> None:
        if not changes:
            return
        self._pending |= changes
        self._is_pending.set()
        if self._names.take(changes):
            self._follow_secrets(self._names.wanted())

    def _follow_secrets(self, wanted: frozenset[Key]) -> None:
        for key in self._secrets.keys() - wanted:
            secret = self._secrets.pop(key)
            secret.scope.cancel()
            self._pending |= secret.watch.reflector.ended()
        for key in sorted(wanted - self._secrets.keys()):
            watch = Watch(self._api, Collection(SECRETS, key), partial(self._take_secret, key), self._report, self._rng)
            self._secrets[key] = _Secret(watch)
        self._are_others_named.set()

    def _take_secret(self, key: Key, changes: Changes) -> None:
        if key in self._secrets:    # else it was on its way when the last who named it went
            self._take(changes)

    async def _settle(self) -> None:
        """Until the Secrets that are named were looked for, so that nobody hears of a host before its certificate."""
        with trio.move_on_after(SETTLE_S):
            for secret in list(self._secrets.values()):
                await secret.watch.is_settled.wait()
