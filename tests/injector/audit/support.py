"""Small stores with real chains: who called whom is said in a line or two, and the files are those of the control plane."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from certs.log import Entry as Issuance
from injector.audit.coverage import Coverage
from injector.audit.period import Period
from injector.audit.store import Store, open_store
from sidecar.model.chain import FIRST, hash_of
from sidecar.model.ledger import Countersignature, Entry

NOW = 1_780_000_000.0
PERIOD = Period(NOW - 86400, NOW)
WEB, ORDERS = "spiffe://mesh/ns/shop/sa/web", "spiffe://mesh/ns/shop/sa/orders"
PAYMENTS = "spiffe://mesh/ns/pay/sa/payments"
SERIALS = {WEB: "a" * 32, ORDERS: "b" * 32, PAYMENTS: "c" * 32}
UIDS = {"shop/web-1": "uid-web-1", "shop/orders-1": "uid-orders-1", "pay/payments-1": "uid-payments-1"}
PODS = {WEB: "shop/web-1", ORDERS: "shop/orders-1", PAYMENTS: "pay/payments-1"}


def chained(entries: list[Any]) -> list[bytes]:
    """The lines, each with the hash of the line before."""
    lines: list[bytes] = []
    head = FIRST
    for entry in entries:
        line = msgspec.json.encode(msgspec.structs.replace(entry, previous=head))
        head = hash_of(line)
        lines.append(line + b"\n")
    return lines


@dataclass
class World:
    """Entries by pod, written as the files of a store."""

    folder: Path
    ledgers: dict[str, list[Entry]] = field(default_factory=dict)
    ids: Any = field(default_factory=lambda: itertools.count(1))

    def write(self, pod: str, *entries: Entry) -> None:
        self.ledgers.setdefault(pod, [Entry("start", time=NOW - 50_000)]).extend(entries)

    def mtls(self, caller: str, destination: str, *, ends: str = "both", ago: float = 3600.0, **more: Any) -> str:
        """One connection, told by `both` ends, or only by the `caller` or the `destination`. Returns its id."""
        each = f"{next(self.ids):032x}"
        server = Entry(
            "connection", id=each, time=NOW - ago, opened=NOW - ago - 5, direction="inbound", security="mtls", local=destination,
            peer=caller,
            serial=SERIALS[destination], peer_serial=SERIALS[caller], tls="TLSv1.3", suite="TLS_AES_128_GCM_SHA256", dst="10.0.0.2:8080",
            source="10.0.0.1", requests=3, received=300, sent=900, rules={"orders": 3},
        )
        server = msgspec.structs.replace(server, **more)
        client = msgspec.structs.replace(
            server, direction="outbound", local=caller, peer=destination, serial=SERIALS[caller], peer_serial=SERIALS[destination],
            received=server.sent, sent=server.received, dst="10.96.0.9:80", rules={},
        )
        if ends in ("both", "caller"):
            self.write(PODS[caller], client)
        if ends in ("both", "destination"):
            self.write(PODS[destination], server)
        return each

    def plaintext(self, destination: str, source: str = "10.0.9.9", **more: Any) -> None:
        entry = Entry(
            "connection", id=f"{next(self.ids):032x}", time=NOW - 1800, opened=NOW - 1810, direction="inbound", security="plaintext",
            local=destination, dst="10.0.0.2:8080", source=source, requests=1, received=10, sent=20, rules={"orders": 1},
        )
        self.write(PODS[destination], msgspec.structs.replace(entry, **more))

    def egress(self, local: str, host: str, **more: Any) -> None:
        entry = Entry(
            "connection", id=f"{next(self.ids):032x}", time=NOW - 1700, opened=NOW - 1710, direction="outbound", security="tls",
            local=local, peer_serial="e" * 32, tls="TLSv1.2", dst="203.0.113.7:80", host=host, requests=2, received=2000, sent=100,
            rules={"stripe": 2},
        )
        self.write(PODS[local], msgspec.structs.replace(entry, **more))

    def refused(self, local: str, **more: Any) -> None:
        entry = Entry(
            "refusal", time=NOW - 1600, direction="inbound", local=local, decision="refused", code="BZ0102", reason="identity-not-allowed",
            dst="10.0.0.2:8080", source="10.0.0.1",
        )
        self.write(PODS[local], msgspec.structs.replace(entry, **more))

    def path(self, pod: str) -> Path:
        namespace, _, name = pod.partition("/")
        return self.folder / namespace / f"{name}.{UIDS[pod]}.jsonl"

    def store(self, coverage: Coverage | None = None) -> Store:
        """What there is by now, on the disk, its heads countersigned."""
        heads = {}
        for pod, entries in self.ledgers.items():
            lines = chained(entries)
            self.path(pod).parent.mkdir(parents=True, exist_ok=True)
            self.path(pod).write_bytes(b"".join(lines))
            heads[UIDS[pod]] = Countersignature(UIDS[pod], hash_of(lines[-1][:-1]), len(lines), NOW, "", "")
        self.folder.joinpath("heads.json").write_bytes(msgspec.json.encode(heads))
        if coverage is not None:
            self.folder.joinpath("coverage.json").write_bytes(msgspec.json.encode(coverage))
        return open_store([str(self.folder)])

    def ended(self) -> None:
        """Every sidecar has ended in order: nothing is still to come."""
        for entries in self.ledgers.values():
            entries.append(Entry("end", time=NOW - 10))


def issuance(path: Path, *, but: tuple[str, ...] = (), **more: Any) -> str:
    """An issuance log with the certificates of `SERIALS`. Returns its path."""
    now = int(NOW)
    more = {name: int(value) if isinstance(value, float) else value for name, value in more.items()}
    issued = [
        msgspec.structs.replace(
            Issuance("", serial, identity, UIDS[PODS[identity]], now - 40_000, now - 40_060, now + 40_000, "k" * 64, "10.0.0.1"), **more)
        for identity, serial in SERIALS.items() if identity not in but
    ]
    path.write_bytes(b"".join(chained(issued)))
    return str(path)
