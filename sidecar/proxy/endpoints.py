"""What a caller remembers of each Service and its endpoints while snapshots come and go.

A snapshot says which endpoints there are; here stands how they are doing: what is in flight, who fails, who is new, whose turn it is
and what retries have cost. An endpoint that stays in the next snapshot keeps all that, one that is gone is forgotten. How to choose
is decided in `policy/`; every function here is synchronous, so that the state and the choice made from it are one step. Endpoints that
NetworkPolicies do not list are no members: judged once for each snapshot, they cost a choice nothing.
"""

import random  # noqa: TID251 -- the generator is made by main and passed
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from sidecar.model.errors import Unavailable
from sidecar.model.reason import Reason
from sidecar.model.service import CallRule, Endpoint, Service
from sidecar.policy.balance import Candidate, Ring, eligible, least_request, round_robin, share
from sidecar.policy.ejection import WELL, Health, most_out, observed
from sidecar.policy.retry import Budget
from sidecar.policy.rules import Rules
from sidecar.telemetry.metrics import Metrics

from .plan import Upstream

NEVER = float("inf")


@dataclass(slots=True, eq=False)
class Member(Candidate):
    """An endpoint of one Service: what balancing and ejection know of it."""

    health: Health = WELL


class Group:
    """One Service and its members.

    Attributes:
        service: as the latest snapshot has it.
        in_flight: requests, or connections where the Service is no HTTP; to members that are gone, too.
        ways: what all requests to a member have in common, by whether they go by HTTP/2.
    """

    def __init__(self, service: Service, rules: Rules, rng: random.Random, metrics: Metrics) -> None:
        self._rng = rng
        self._metrics = metrics
        self._position = int(rng.random() * 65536)      # callers that start together begin with different endpoints
        self._budgets: dict[str, Budget] = {}
        self.in_flight = 0
        # Where everybody is new nobody is to be spared.
        self._members = {endpoint: Member(endpoint) for endpoint in service.endpoints if rules.may_call(endpoint)}
        self._take(service, rules.snapshot.workload.zone)

    def follow(self, service: Service, rules: Rules, now: float) -> None:
        """Take the Service as the next snapshot has it."""
        known, zone = self._members, rules.snapshot.workload.zone
        self._members = {
            endpoint: known.get(endpoint) or Member(endpoint, now) for endpoint in service.endpoints if rules.may_call(endpoint)
        }
        if service != self.service or zone != self._zone or self._members.keys() != known.keys():
            self._take(service, zone)
            self._let_back(now)

    def _take(self, service: Service, zone: str) -> None:
        self.service, self._zone, limits = service, zone, service.balancing.limits
        self._most = limits.requests if service.is_http else limits.connections
        self.ways: dict[tuple[Member, bool], Upstream] = {}
        self._ring: Ring | None = None
        self._grown_at = max((member.since for member in self._members.values()), default=-NEVER) + service.balancing.slow_start_s
        self._stale_at = -NEVER         # `_eligible` holds until then
        self._eligible: list[Member] = []
        names = {rule.name for rule in service.rules}
        self._budgets = {name: budget for name, budget in self._budgets.items() if name in names}

    # -- who takes the next one

    def pick(
        self, now: float, *, key: bytes | None = None, avoid: Collection[Endpoint] = (), only: Endpoint | None = None
    ) -> Member | None:
        """The member that takes the next request; None if there is none.

        Args:
            key: what a consistent hash is taken of; None: chance decides.
            avoid: these only if no other is left.
            only: the endpoint that was dialled itself.
        """
        if only is not None:
            return self._members.get(only)
        if now >= self._stale_at:
            self._refresh(now)
        candidates = self._eligible
        if avoid:
            candidates = self._without(candidates, avoid) or self._without(self._healthy(now), avoid) or candidates
        if not candidates:
            return None
        balancing = self.service.balancing
        if balancing.policy == "ConsistentHash":
            return self._owner(key or self._rng.randbytes(8), candidates, now)
        slow_s = balancing.slow_start_s
        of = [share(member, slow_s, now) for member in candidates] if now < self._grown_at else None
        if balancing.policy == "LeastRequest":
            return least_request(candidates, of, self._rng)
        member, position = round_robin(candidates, of, self._position, self._rng)
        if not avoid:       # else the turn of whoever comes next would be theirs again
            self._position = position
        return member

    def _refresh(self, now: float) -> None:
        members = list(self._members.values())
        zone = self._zone if self.service.balancing.zone_preference else ""
        self._eligible = eligible(members, lambda member: member.health.is_out(now), zone)
        self._stale_at = min((member.health.out_until for member in members if member.health.is_out(now)), default=NEVER)

    def _healthy(self, now: float) -> list[Member]:
        return [member for member in self._members.values() if not member.health.is_out(now)]

    @staticmethod
    def _without(members: list[Member], avoid: Collection[Endpoint]) -> list[Member]:
        return [member for member in members if member.endpoint not in avoid]

    def _owner(self, key: bytes, candidates: list[Member], now: float) -> Member | None:
        if self._ring is None:
            self._ring = Ring(self._members)
        slow_s = self.service.balancing.slow_start_s
        parts = {member.endpoint: share(member, slow_s, now) for member in candidates}
        owner = self._ring.owner(key, lambda endpoint: parts.get(endpoint, 0.0))
        return None if owner is None else self._members[owner]

    # -- what comes of it

    @property
    def is_full(self) -> bool:
        return self.in_flight >= self._most

    def enter(self, member: Member) -> Callable[[], None]:
        """Count one more request (connection) to `member`; what is returned must be called once, when it is over.

        Raises Unavailable where the Service's limit is reached.
        """
        if self.in_flight >= self._most:
            self.count_refused()
            raise Unavailable(Reason.CIRCUIT_OPEN, f"{self.in_flight} at a time go to {self.service.name}")
        self.in_flight += 1
        member.in_flight += 1
        return partial(self._leave, member)

    def count_refused(self) -> None:
        """One more was beyond a limit of the Service."""
        self._count("bartizan_circuit_open_total")

    def _leave(self, member: Member) -> None:
        self.in_flight -= 1
        member.in_flight -= 1

    def observe(self, member: Member, clock: Callable[[], float], is_success: bool) -> None:
        """One attempt succeeded or failed. The clock is looked at if that changes anything."""
        rule = self.service.balancing.ejection
        if rule is None or (is_success and member.health is WELL) or self._members.get(member.endpoint) is not member:
            return
        before, now = member.health, clock()
        room = most_out(rule, len(self._members)) - sum(other.health.is_out(now) for other in self._members.values())
        member.health = observed(before, rule, is_success=is_success, now=now, can_be_ejected=room > 0)
        if member.health.is_out(now) and not before.is_out(now):
            self._stale_at = now
            self._count("bartizan_ejections_total")

    def _let_back(self, now: float) -> None:
        """Fewer members may leave more of them out than there may be: those whose time ends first come back."""
        rule = self.service.balancing.ejection
        out = sorted(
            (member for member in self._members.values() if member.health.is_out(now)), key=lambda member: member.health.out_until
        )
        may_be_out = 0 if rule is None else most_out(rule, len(self._members))
        for member in out[:max(0, len(out) - may_be_out)]:
            member.health = Health(times=member.health.times)

    def deposit(self, rule: CallRule, now: float) -> None:
        """A request came whose attempts this rule may repeat."""
        self._budget(rule).deposit(now)

    def may_retry(self, rule: CallRule, now: float) -> bool:
        """Whether one more retry is in the rule's budget; then it is spent."""
        if self._budget(rule).spend(now):
            return True
        self._count("bartizan_retries_refused_total")
        return False

    def _budget(self, rule: CallRule) -> Budget:
        assert rule.retries is not None
        budget = self._budgets.get(rule.name)
        if budget is None:
            budget = self._budgets[rule.name] = Budget(rule.retries.budget_percent)
        budget.percent = rule.retries.budget_percent
        return budget

    def _count(self, name: str) -> None:
        self._metrics.count(name, (("service", f"{self.service.name}:{self.service.port}"),))


class Endpoints:
    """The groups of all Services that were called, or whose endpoints start slowly."""

    def __init__(self, rng: random.Random, metrics: Metrics) -> None:
        self._rng = rng
        self._metrics = metrics
        self._rules: Rules | None = None
        self._groups: dict[tuple[str, int], Group] = {}

    def follow(self, rules: Rules, now: float) -> None:
        """Take over what is in the new snapshot; forget the rest."""
        self._rules = rules
        groups = {}
        for service in rules.snapshot.outbound.services:
            key = service.name, service.port
            group = self._groups.get(key)
            if group is not None:
                group.follow(service, rules, now)
            elif service.balancing.slow_start_s:
                group = Group(service, rules, self._rng, self._metrics)
            if group is not None:
                groups[key] = group
        self._groups = groups

    def group(self, rules: Rules, service: Service, now: float) -> Group:
        """
        Args:
            service: one of those in `rules`.
        """
        if rules is not self._rules:
            self.follow(rules, now)
        key = service.name, service.port
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(service, rules, self._rng, self._metrics)
        return group
