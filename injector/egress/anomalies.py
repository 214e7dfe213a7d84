"""What of a workload's egress is unusual, by its profile. Pure: it reads the profile, and learns nothing.

    new-host    a host that the workload has not reached, or been refused, before
    volume      more bytes to a host within an hour than three times the busiest that was learned, and a mebibyte at least
    period      active in an hour of the day in which it never was, in as many days as the profile looks back

While a workload is observed nothing is unusual: that is when its profile is made. One that was never observed is given a day.
"""

from typing import Literal

import msgspec

from sidecar.model.ledger import Entry

from .profile import DAY_S, Profile, Told, Workload, name_in, news, told

Kind = Literal["new-host", "volume", "period"]

VOLUME_TIMES = 3
LEAST_VOLUME_BYTES = 1 << 20


class Anomaly(msgspec.Struct, frozen=True, rename="camel"):
    """
    Args:
        workload: identity.
        host: or address; `(others)` beyond those that are told apart.
        time: of the entry, Unix seconds.
        detail: in words.
    """

    kind: Kind
    workload: str
    host: str
    time: float
    detail: str

    @property
    def key(self) -> str:
        """What is told once a day of a workload. The hour is its own, whichever host it was."""
        return self.kind if self.kind == "period" else f"{self.kind} {self.host}"


def anomalies(profile: Profile, entry: Entry, now: float) -> list[Anomaly]:
    """Ask before the profile learns the entry."""
    said = told(entry, now)
    workload = profile.workloads.get(said.workload) if said is not None else None
    if said is None or workload is None or said.is_observed or said.time < workload.known:
        return []
    name = name_in(workload, said)
    found: tuple[tuple[Kind, str], ...] = (
        ("new-host", _new_host(workload, name, said)), ("volume", _volume(profile, workload, name, said)),
        ("period", _period(profile, workload, said)),
    )
    return [Anomaly(kind, said.workload, name, said.time, detail) for kind, detail in found if detail]


def _new_host(workload: Workload, name: str, said: Told) -> str:
    if name in workload.hosts:      # beyond those that are told apart, all others are one
        return ""
    return "was refused a host that is new to it" if said.is_refused else "reached a host that is new to it, or tried to"


def _volume(profile: Profile, workload: Workload, name: str, said: Told) -> str:
    host = workload.hosts.get(name)
    most = max(host.most.values(), default=0) if host is not None else 0
    sent = news(profile, said) + (host.sent if host is not None and host.hour == said.hour else 0)
    if host is not None and said.hour > host.hour:
        most = max(most, host.sent)     # an hour that has ended, which nothing has closed yet
    if sent < LEAST_VOLUME_BYTES or sent <= VOLUME_TIMES * most:
        return ""
    return f"{sent:,} bytes sent within an hour; the most that was learned is {most:,}"


def _period(profile: Profile, workload: Workload, said: Told) -> str:
    hour = said.hour % 24
    if hour in workload.hours or said.time - workload.first < profile.days * DAY_S:
        return ""
    return f"active between {hour:02}:00 and {(hour + 1) % 24:02}:00 UTC, which it was on none of the last {profile.days} days"
