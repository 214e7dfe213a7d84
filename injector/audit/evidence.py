"""What a record says, as the reports understand it: which connections are the mesh's own, how they were secured, how that is proved.

Pure. In doubt it decides against us: what nobody recorded as secure is plaintext.
"""

from typing import Literal

from sidecar.model.ledger import Entry

from .join import JOIN_SLACK_S, Connection, Side, differences
from .store import Ledger

Manner = Literal["mtls", "contradictory", "plaintext", "passthrough", "in-process", "egress", "none"]
Proof = Literal["both ends", "one end", "doubtful"]

WHY_ONE_SIDED = {
    "held by the application": "The other end's key is with its application, which keeps no ledger (Workload API).",
    "no ledger": "The store has no ledger of the other end: its file is missing, or it never shipped one.",
    "not yet": "The other end's ledger does not reach so far: it is still to come, or ended with its pod before it was shipped.",
    "shed": "A ledger of the other end had no room for some entries; this may be one of them.",
    "broken": "A ledger of the other end is broken or cut; the record may have been taken out.",
    "unexplained": "The other end's ledgers are whole and reach further, yet do not tell of it: one of the two records is false.",
}


def manner(connection: Connection) -> Manner:
    """How the connection was secured; `egress` leads out of the mesh, `none` was ended before anything was carried."""
    entries = [side.entry for side in connection.sides]
    if all(entry.decision != "allowed" and entry.security != "mtls" and not (entry.requests or entry.rules) for entry in entries):
        return "none"
    if connection.server is None and is_egress(entries[0]):
        return "egress"
    if len(entries) == 2 and differences(entries[0], entries[1]):
        return "contradictory"
    said = {entry.security for entry in entries}
    for each in ("mtls", "in-process", "passthrough"):
        if said == {each}:
            return each
    return "plaintext"


def is_egress(entry: Entry) -> bool:
    """Whether the record is of something that leads out of the mesh."""
    if entry.direction != "outbound" or entry.security in ("mtls", "in-process"):
        return False
    return bool(entry.host) or entry.security in ("tls", "passthrough") or entry.code.startswith("BZ02")


def is_doubtful(side: Side, ledgers: list[Ledger]) -> bool:
    return not side.is_sound or ledgers[side.ledger].is_rebuilt


def proof(connection: Connection, ledgers: list[Ledger]) -> Proof:
    """Of an mTLS connection that nobody contradicts."""
    if any(is_doubtful(side, ledgers) for side in connection.sides):
        return "doubtful"
    return "both ends" if len(connection.sides) == 2 else "one end"


def why_one_sided(connection: Connection, ledgers: list[Ledger]) -> str:
    """The likeliest cause, a key of `WHY_ONE_SIDED`; suspicion only where nothing harmless can explain it."""
    told = connection.main.entry
    others = [ledger for ledger in ledgers if told.peer in ledger.identities]
    if told.holder == "application":
        return "held by the application"
    if not others:
        return "no ledger"
    if not all(ledger.is_whole for ledger in others):
        return "broken"
    if any(ledger.last < told.time + JOIN_SLACK_S and not ledger.has_ended for ledger in others):
        return "not yet"
    if any(ledger.shed for ledger in others):
        return "shed"
    return "unexplained"
