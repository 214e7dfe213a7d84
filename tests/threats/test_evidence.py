"""Whoever wants a connection not to have been: evidence lost, forged, hidden or made to lie to its reader. 1.12."""

from pathlib import Path

import msgspec
import pytest

from certs.files import locked
from injector.audit.mtls import audit_mtls
from injector.config import InjectorConfig
from injector.server import serve
from sidecar.model.errors import ConfigError
from sidecar.model.ledger import Entry
from tests.injector.audit.support import NOW, ORDERS, PERIOD, SERIALS, World


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
