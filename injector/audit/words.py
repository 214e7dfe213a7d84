"""What every report says alike: how far its ledgers can be believed, how the evidence came about, and what it cannot show."""

from collections.abc import Sequence

from .chains import Chain
from .document import Cell, Column, Table, many, when
from .period import Period
from .store import Ledger

MOST_WARNINGS = 12

ABOUT = (
    ("Who wrote it",
     "Every sidecar writes one line for each connection that it accepts or makes and for each refusal. A connection counts as mTLS from "
     "the first byte of the peer whose certificate was verified, not because a policy says so."),
    ("Why both ends",
     "Client and server each export the same value from their TLS session and write it down; nobody else knows it. Two records with "
     "one value, with each other's certificates, are of one connection: to feign it, both sidecars would have to lie alike."),
    ("Why it cannot be edited unnoticed",
     "Each line holds the hash of the line before it, and the control plane countersigns the head of each chain every few seconds. A line "
     "that was changed, taken out or moved breaks its chain there; an end that was cut off, or a chain that was written anew, "
     "disagrees with the countersigned head."),
    ("Check it yourself",
     "bartizan audit verify FILE follows a ledger, checks its countersignatures and names the first line that is wrong. This "
     "report followed every chain, and compared each with the last head in the store."),
    ("What a sidecar can lie about",
     "A sidecar that was taken over can write untrue lines, but only in its own ledger: what it claims of others is seen in the other "
     "end's ledger, or stands here as told by one end."),
)
LIMITS = (
    "No ledger shows: what stays on a pod's own loopback, kubectl exec and port-forward among it; UDP, which no meshed pod can send but "
    "for DNS to its guard, and may receive; the sidecar's health and metrics ports; what happens before a pod's interception is loaded; "
    "whoever is root on a node."
)


def span(period: Period) -> str:
    return f"{when(period.since)} to {when(period.until)}"


def warnings(ledgers: Sequence[Ledger], *others: Chain) -> list[str]:
    """What must be known before the rest is believed, worst first; few enough to be read."""
    found: list[str] = []
    for chain in (*others, *ledgers):
        if not chain.is_whole:
            where = f"line {chain.broken_line} " if chain.broken_line else ""
            found.append(f"The chain of {chain.name} does not hold: {where}{chain.cause}. What stands behind that proves nothing.")
    for ledger in ledgers:
        if ledger.foreign:
            found.append(f"The ledger of {ledger.name} speaks {many(ledger.foreign, 'time')} for a workload of another namespace.")
    if len(found) > MOST_WARNINGS:
        found[MOST_WARNINGS:] = [f"And {len(found) - MOST_WARNINGS:,} more such; the table of ledgers has them first."]
    if shed := sum(ledger.shed for ledger in ledgers):
        those = sum(1 for ledger in ledgers if ledger.shed)
        found.append(
            f"For want of room in {many(those, 'ledger')}, entries were not written: {shed:,}. Nobody knows what they would have told.")
    if jumps := sum(ledger.clock_jumps for ledger in ledgers):
        those = sum(1 for ledger in ledgers if ledger.clock_jumps)
        found.append(
            f"The clock was set {many(jumps, 'time')} under {many(those, 'ledger')}; times near that are not to be relied on.")
    return found


def state(chain: Chain) -> str:
    """In a few words."""
    if chain.is_rebuilt:
        return "written anew"
    if chain.breaks:
        return f"broken at line {chain.broken_line}"
    return "end cut off" if chain.is_cut else "holds"


def integrity(ledgers: Sequence[Ledger]) -> Table:
    rows: list[Sequence[Cell]] = [
        (ledger.name, state(ledger), ledger.lines, ledger.countersigned, ledger.shed, ledger.clock_jumps, ledger.foreign, ledger.first,
         ledger.last, ledger.cause)
        for ledger in sorted(ledgers, key=lambda ledger: (ledger.is_whole, not ledger.shed, ledger.name))
    ]
    return Table("ledgers", "Integrity of each ledger", (
        Column("Ledger"), Column("Chain"), Column("Lines", "count"), Column("Countersigned to", "count"), Column("Shed", "tally"),
        Column("Clock set", "tally"), Column("Foreign lines", "tally"), Column("First line", "time"), Column("Last line", "time"),
        Column("Cause", "wide"),
    ), rows, note="All lines were followed, those before the period too.")
