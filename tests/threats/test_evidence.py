"""Whoever wants a connection not to have been: evidence lost, forged, hidden or made to lie to its reader. 1.12."""

from pathlib import Path

import msgspec
import pytest
from trio.testing import MockClock

from certs.files import locked
from injector.audit.mtls import audit_mtls
from injector.audit.store import open_store
from injector.config import InjectorConfig
from injector.server import serve
from sidecar.model.chain import FIRST
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Entry
from tests.injector.audit.support import NOW, ORDERS, PERIOD, SERIALS, World
from tests.injector.test_collect import Injector


async def test_two_injectors_with_one_state_directory(tmp_path: Path) -> None:
    """Each writes heads.json from what it knows itself: what the other countersigned could then be cut off, and all would be sound."""
    config = msgspec.convert(
        dict.fromkeys(("directory", "trustDomain", "rootsFile", "issuerUrl", "streamUrl"), "x") | {"stateDirectory": str(tmp_path)},
        InjectorConfig,
    )
    with locked(tmp_path), pytest.raises(ConfigError, match="another injector uses it"):
        await serve(config)


@pytest.mark.parametrize("named", [ORDERS, ""])
def test_one_sidecar_does_not_testify_for_both_ends(tmp_path: Path, named: str) -> None:
    """It was taken over, and makes up calls that nobody made: the share of mTLS rises, and the plaintext beside it looks small."""
    world = World(tmp_path)
    server = Entry(
        "connection", id="f" * 32, time=NOW - 3600, opened=NOW - 3605, direction="inbound", security="mtls", local=named, peer=ORDERS,
        serial=SERIALS[ORDERS], peer_serial=SERIALS[ORDERS], tls="TLSv1.3", suite="S", received=1, sent=1, requests=1,
    )
    world.write("shop/orders-1", server, msgspec.structs.replace(server, direction="outbound", local=ORDERS, peer=named))
    total = audit_mtls(world.store(), PERIOD, NOW).total
    assert (total.mtls, total.both_ends, total.doubtful) == (1, 0, 1)


@pytest.mark.parametrize("words", [
    {"kind": "shed", "count": -1000}, {"kind": "shed", "count": 10**400}, {"kind": "connection", "sent": -(10**6)},
    {"kind": "connection", "requests": 1 << 64}, {"kind": "connection", "rules": {"orders": -3}},
    {"kind": "head", "countersignature": {"pod": "u", "head": "", "count": -1, "time": 0, "key": "", "signature": ""}},
])
async def test_counts_that_are_none(tmp_path: Path, autojump_clock: MockClock, words: dict[str, object]) -> None:
    """One sidecar that was taken over would take away from what others tell, or end every report of the whole mesh."""
    line = msgspec.json.encode(words | {"previous": FIRST, "time": NOW}) + b"\n"
    assert (await Injector(tmp_path / "state").post([line])).status == 400
    world = World(tmp_path / "ledger")
    world.write("shop/orders-1", Entry("shed", time=NOW - 3600, count=7))
    world.store()
    pod = world.path("shop/web-1")
    pod.write_bytes(line)
    report = audit_mtls(open_store([str(world.folder)]), PERIOD, NOW)
    assert sum(ledger.shed for ledger in report.ledgers) == 7
    assert [ledger.name for ledger in report.ledgers if not ledger.is_whole] == ["shop/web-1"]
