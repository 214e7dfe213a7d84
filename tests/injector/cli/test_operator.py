import io
from pathlib import Path

import pytest

from injector.cli.operator import main
from sidecar.model.errors import ConfigError


def test_where_no_injector_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    with pytest.raises(ConfigError, match="stateDirectory of a running injector"):
        main(["/v1/status", "--state", str(tmp_path)])
