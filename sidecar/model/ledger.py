"""What the ledger says: evidence of each connection and each refusal, one JSON line for each, chained (`chain.py`).

The sidecar writes it and ships it to the control plane, which countersigns its head; the audit reads what was collected.
"""

from typing import Annotated, Literal

import msgspec

Kind = Literal[
    "start",        # a process of the sidecar begins to write
    "connection",   # one that was accepted or originated; told when it ends, and now and then while it lasts
    "refusal",      # a connection or request that was refused, or failed
    "shed",         # so many entries were not written (`count`), since there was no room
    "head",         # the control plane has countersigned: the line before it, at the latest
    "clock",        # the clock of the machine was set: `detail`
    "end",          # the process ends in order
]


# Whoever reads it adds them up: less than none would hide what others tell, and what no machine word holds would end the report.
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class Countersignature(msgspec.Struct, frozen=True, rename="camel"):
    """The control plane has seen the chain as far as this.

    Args:
        pod: uid.
        head: hash of the last line that it has.
        count: how many lines the chain has, that one included.
        time: Unix seconds, by the control plane's clock.
        key: SHA-256 of the SubjectPublicKeyInfo of the key that signed, hex.
        signature: ECDSA P-256 with SHA-256 over `signed_text`, DER, base64.
    """

    pod: str
    head: str
    count: Count
    time: float
    key: str
    signature: str


class Entry(msgspec.Struct, rename="camel", omit_defaults=True):
    """One line.

    Args:
        previous: hash of the line before; the ledger fills it in, as it does `time`.
        time: Unix seconds, when it was written.
        id: of the connection. For mTLS exported from the TLS session, so that both ends write the same; hex.
        opened: Unix seconds, when the connection began.
        is_open: it goes on: what is counted here is counted again in its later lines.
        direction: from the workload that writes: `inbound`, `outbound`.
        security: `mtls` from the first byte of the verified peer; `tls` to an external host, verified; `plaintext`; `passthrough`, the
            application's own TLS or bytes of an approved range; `in-process`, the pod's call of itself; empty: nothing was proved.
        local, peer: SPIFFE IDs; of `peer` only what was verified.
        caller: of an egress gateway: the verified SPIFFE ID of whom it led out.
        serial, peer_serial: of both certificates; `trust.serial_text`.
        holder: `application` if the peer's key is held by its application (Workload API).
        tls, suite: version and cipher suite.
        dst: original destination, address and port.
        source: the downstream's address.
        host: the external host that was judged: Host or server name.
        spoken: to an external host, how many exchanges the application spoke as `plain:80`, `tls:443` or `tcp:5432`, the port being the
            one that it dialled.
        rules: how many exchanges each rule let through; a connection that is no HTTP counts once.
        decision: `allowed`; `refused` by a rule or a failed proof; `failed`, which nobody decided.
        code, reason, detail: of a refusal or failure.
        requests: exchanges that were carried.
        received, sent: bytes from and to the peer.
        count: of a `shed` line.
        countersignature: of a `head` line.
    """

    kind: Kind
    previous: str = ""
    time: float = 0.0
    id: str = ""
    opened: float = 0.0
    is_open: bool = False
    direction: Literal["", "inbound", "outbound"] = ""
    security: str = ""
    local: str = ""
    peer: str = ""
    caller: str = ""
    serial: str = ""
    peer_serial: str = ""
    holder: str = ""
    tls: str = ""
    suite: str = ""
    dst: str = ""
    source: str = ""
    host: str = ""
    rules: dict[str, Count] = msgspec.field(default_factory=dict)
    spoken: dict[str, Count] = msgspec.field(default_factory=dict)
    decision: Literal["allowed", "refused", "failed"] = "allowed"
    code: str = ""
    reason: str = ""
    detail: str = ""
    requests: Count = 0
    received: Count = 0
    sent: Count = 0
    count: Count = 0
    countersignature: Countersignature | None = None


def signed_text(pod: str, head: str, count: int, time: float) -> bytes:
    """What a countersignature is over."""
    return f"bartizan ledger head\n{pod}\n{head}\n{count}\n{time:.3f}\n".encode()
