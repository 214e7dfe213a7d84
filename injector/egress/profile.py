"""What is usual for a workload: the hosts that it reaches, how much it sends them in an hour, the hours of the day when it does.

Learned of ledger entries as they come in, for so many days back; what was not seen for so long is forgotten, and new when it comes
again. A workload is known by its identity, so all its pods teach one profile. Hours and days are UTC.

Trust: entries are their sidecars' word. Names are the application's choice, so there is a bound to how many are remembered; what is
beyond it counts as one, and so does what is no name. A time that has not come yet counts as now.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from injector.audit.egress import host_of
from injector.audit.evidence import SERVICE, is_egress
from injector.audit.names import workload_of
from sidecar.model.ledger import Entry
from sidecar.model.reason import Reason
from sidecar.policy.egress import OBSERVED

from .seen import is_place

HOUR_S, DAY_S = 3600, 86400
MOST_HOSTS = 2000           # of a workload
MOST_REFUSED = 1000         # no refused one is remembered beyond, so that they push out no other
MOST_OPEN = 10_000          # connections of which a part has been counted
MOST_WORKLOADS = 10_000     # a gateway names whom it leads out
MOST_ID = 64                # of a connection's, which is hex
OTHERS = "(others)"


class Host(msgspec.Struct, rename="camel"):
    """
    Args:
        first, last: when it was reached or refused, Unix seconds.
        hour: the hour that is being counted, since 1970.
        sent: bytes in it.
        most: day since 1970 -> bytes in its busiest hour, as far as that is learned.
    """

    first: float
    last: float
    hour: int = 0
    sent: int = 0
    most: dict[int, int] = msgspec.field(default_factory=dict)


class Workload(msgspec.Struct, rename="camel"):
    """
    Args:
        first: when it was first heard of.
        known: from when on what is new to it is unusual: what an observation has seen, or what a day of work has.
        hours: of the day -> day since 1970 on which it was last active then.
        told: what was told of it -> the day (`injector/egress/alerts.py`).
    """

    first: float
    known: float
    hosts: dict[str, Host] = msgspec.field(default_factory=dict)
    hours: dict[int, int] = msgspec.field(default_factory=dict)
    told: dict[str, int] = msgspec.field(default_factory=dict)


class Profile(msgspec.Struct, rename="camel"):
    """
    Args:
        days: how far back it looks.
        workloads: by identity.
        open: connection that goes on -> bytes of it that are counted already.
    """

    days: int
    workloads: dict[str, Workload] = msgspec.field(default_factory=dict)
    open: dict[str, int] = msgspec.field(default_factory=dict)


class Told(NamedTuple):
    """What an entry says of egress."""

    time: float
    workload: str
    host: str
    connection: str
    sent: int
    is_open: bool
    is_observed: bool
    is_refused: bool

    @property
    def hour(self) -> int:
        return int(self.time) // HOUR_S

    @property
    def day(self) -> int:
        return int(self.time) // DAY_S


def told(entry: Entry, now: float) -> Told | None:
    """None: it is not about egress. Of whom a gateway led out it is the gateway's word: the caller knows that it is one."""
    if entry.kind not in ("connection", "refusal") or not entry.local or not is_egress(entry):
        return None
    who, host = entry.caller or entry.local, host_of(entry)
    if not workload_of(who)[0]:
        return None
    if entry.code == Reason.REDIRECT_LOST.code or any(rule.startswith(SERVICE) for rule in entry.rules):
        return None     # refused whatever it was; or a destination in the mesh that did not prove itself
    return Told(
        min(entry.time, now), who, host if is_place(host) else OTHERS, entry.id[:MOST_ID], entry.sent, entry.is_open,
        OBSERVED in entry.rules, entry.decision == "refused",
    )


def learn(entries: Iterable[Entry], now: float, days: int) -> Profile:
    """A profile of entries in any order."""
    profile = Profile(days)
    known = (said for entry in entries if entry.time >= now - days * DAY_S and (said := told(entry, now)) is not None)
    for said in sorted(known):
        note(profile, said)
    forget(profile, now)
    return profile


def note(profile: Profile, said: Told) -> None:
    """Learn one more, later than those before."""
    if said.workload not in profile.workloads and len(profile.workloads) >= MOST_WORKLOADS:
        return
    workload = profile.workloads.setdefault(said.workload, Workload(said.time, said.time + DAY_S))
    if said.is_observed:
        workload.known = min(workload.known, said.time)
    workload.hours[said.hour % 24] = said.day
    host = workload.hosts.setdefault(name_in(workload, said), Host(said.time, said.time))
    host.last = max(host.last, said.time)
    sent = news(profile, said)
    if said.hour > host.hour:
        _close(host)
        host.hour, host.sent = said.hour, 0
    if said.hour == host.hour:
        host.sent += sent
        if said.is_observed:
            _close(host)        # all that is observed is usual
    else:       # it was shipped late
        host.most[said.day] = max(host.most.get(said.day, 0), sent)
    _count(profile, said)


def name_in(workload: Workload, said: Told) -> str:
    """What the host is remembered under."""
    room = MOST_REFUSED if said.is_refused else MOST_HOSTS
    return said.host if said.host in workload.hosts or len(workload.hosts) < room else OTHERS


def news(profile: Profile, said: Told) -> int:
    """Bytes that no earlier entry of the same connection has told of."""
    return max(said.sent - profile.open.get(said.connection, 0), 0)


def _count(profile: Profile, said: Told) -> None:
    """The one that was heard of longest ago makes room: it may have died with its sidecar, and will never end."""
    profile.open.pop(said.connection, None)
    if said.is_open:
        if len(profile.open) >= MOST_OPEN:
            del profile.open[next(iter(profile.open))]
        profile.open[said.connection] = said.sent


def _close(host: Host) -> None:
    """The hour is learned."""
    day = host.hour * HOUR_S // DAY_S
    if host.hour:
        host.most[day] = max(host.most.get(day, 0), host.sent)


def forget(profile: Profile, now: float) -> None:
    """What has not been seen for too long."""
    since = now - profile.days * DAY_S
    first_day = int(since) // DAY_S
    for workload in profile.workloads.values():
        workload.hosts = {name: host for name, host in workload.hosts.items() if host.last >= since}
        workload.hours = {hour: day for hour, day in workload.hours.items() if day >= first_day}
        workload.told = {key: day for key, day in workload.told.items() if day == int(now) // DAY_S}
        for host in workload.hosts.values():
            host.most = {day: most for day, most in host.most.items() if day >= first_day}
    profile.workloads = {identity: workload for identity, workload in profile.workloads.items() if workload.hosts}
