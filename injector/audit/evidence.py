"""What a record says, as the reports understand it: which connections are the mesh's own, how they were secured, how that is proved.

Pure. In doubt it decides against us: what nobody recorded as secure is plaintext.
"""

from collections.abc import Mapping
from typing import Literal

from sidecar.model.ledger import Entry

from .join import JOIN_SLACK_S, Connection, Side, differences, is_silent
from .paths import host_and_port
from .store import Ledger

Manner = Literal["mtls", "contradictory", "plaintext", "passthrough", "in-process", "egress", "silent", "none"]
Proof = Literal["both ends", "one end", "doubtful"]

SERVICE = "service/"    # what the rules of `sidecar/policy/egress.py` for Services begin with

WHY_ONE_SIDED = {
    "no byte came": "The other end tells of it too, but no byte had come to it: it cannot say that this end took part.",
    "held by the application": "The other end's key is with its application, which keeps no ledger (Workload API).",
    "no ledger": "The store has no ledger of the other end: its file is missing, or it never shipped one.",
    "not yet": "The other end's ledger does not reach so far: it is still to come, or ended with its pod before it was shipped.",
    "shed": "A ledger of the other end had no room for some entries; this may be one of them.",
    "broken": "A ledger of the other end is broken or cut; the record may have been taken out.",
    "unexplained": "The other end's ledgers are whole and reach further, yet do not tell of it: one of the two records is false.",
}


def manner(connection: Connection) -> Manner:
    """How the connection was secured; `egress` leads out of the mesh, `silent` never had a byte of a peer's, `none` was refused."""
    entries = [side.entry for side in connection.sides]
    if all(entry.decision != "allowed" and entry.security != "mtls" and not (entry.requests or entry.rules) for entry in entries):
        return "none"
    if connection.server is None and is_egress(entries[0]):
        return "egress"
    if len(entries) == 2 and differences(entries[0], entries[1]):
        return "contradictory"
    said = {entry.security for entry in entries if not is_silent(entry)}
    if not said:
        return "silent"
    for each in ("mtls", "in-process", "passthrough"):
        if said == {each}:
            return each
    return "plaintext"


def is_egress(entry: Entry) -> bool:
    """Whether the record is of something that leads out of the mesh: to no peer of it, and by no rule for a Service of it."""
    if entry.direction != "outbound" or entry.peer or entry.security in ("mtls", "in-process"):
        return False
    if entry.tls or entry.security in ("tls", "passthrough") or entry.code.startswith("BZ02"):
        return True
    return bool(entry.host) and not any(rule.startswith(SERVICE) for rule in entry.rules)


def is_doubtful(side: Side, ledgers: list[Ledger]) -> bool:
    return not side.is_sound or ledgers[side.ledger].is_rebuilt


def proof(connection: Connection, ledgers: list[Ledger]) -> Proof:
    """Of an mTLS connection that nobody contradicts."""
    is_told_by_one = len({side.ledger for side in connection.sides}) < len(connection.sides)   # a pod calls itself in-process, never so
    if is_told_by_one or any(is_doubtful(side, ledgers) for side in connection.sides):
        return "doubtful"
    return "both ends" if len(connection.sides) == 2 and connection.is_mtls else "one end"


def why_one_sided(connection: Connection, ledgers: list[Ledger], pods: Mapping[str, str]) -> str:
    """The likeliest cause, a key of `WHY_ONE_SIDED`; suspicion only where nothing harmless can explain it.

    Args:
        pods: address -> pod uid, as far as the cluster knows.
    """
    if len(connection.sides) == 2:
        return "no byte came"
    told = connection.main.entry
    others = [ledger for ledger in ledgers if told.peer in ledger.identities]
    pod = pods.get(host_and_port(told.source if connection.server is not None else told.dst)[0])
    others = [ledger for ledger in others if ledger.pod and ledger.pod_uid == pod] or others
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
