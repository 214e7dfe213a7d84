"""Whoever wants a connection not to have been: evidence lost, forged, hidden or made to lie to its reader. 1.12."""

from pathlib import Path

import msgspec
import pytest

from certs.files import locked
from injector.config import InjectorConfig
from injector.server import serve
from sidecar.model.errors import ConfigError


async def test_two_injectors_with_one_state_directory(tmp_path: Path) -> None:
    """Each writes heads.json from what it knows itself: what the other countersigned could then be cut off, and all would be sound."""
    config = msgspec.convert(
        dict.fromkeys(("directory", "trustDomain", "rootsFile", "issuerUrl", "streamUrl"), "x") | {"stateDirectory": str(tmp_path)},
        InjectorConfig,
    )
    with locked(tmp_path), pytest.raises(ConfigError, match="another injector uses it"):
        await serve(config)
