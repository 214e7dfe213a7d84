from pathlib import Path

import pytest

from injector.cli.config import PARTS, main, shown
from injector.operator import ConfigView
from injector.status import PodStatus
from sidecar.model.errors import ConfigError

STATUS = PodStatus("shop", "web-1", "u-1", sidecar="bartizan", should="a", has="b", refused="too large")
SNAPSHOT = {"inbound": {"routes": []}, "outbound": {"hosts": [1], "services": [2]}}
FOUND = ConfigView(STATUS, SNAPSHOT)
DIGEST = {"should": "a", "has": "b", "isNewest": False, "refused": "too large"}


@pytest.mark.parametrize(("part", "value"), [
    ("all", {"snapshot": SNAPSHOT}), ("inbound", {"inbound": {"routes": []}}), ("services", {"services": [2]}), ("digest", {}),
    ("egress", {"egress": {"hosts": [1], "ranges": []}}), ("trust", {"trust": None}), ("gateway", {"gateway": []}),
    ("outbound", {"outbound": SNAPSHOT["outbound"]}),
])
def test_the_part_that_is_asked_for(part: str, value: dict[str, object]) -> None:
    assert part in PARTS
    assert shown(FOUND, part) == {"digest": DIGEST, **value}


@pytest.mark.parametrize(("status", "words"), [(STATUS, "does not run"), (PodStatus("shop", "bare", "u-2"), "no sidecar")])
def test_where_there_is_no_snapshot(status: PodStatus, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        shown(ConfigView(status), "all")


def test_the_part_may_stand_behind_the_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path)):     # understood, and nobody is there
        main(["web", "-n", "shop", "inbound", "--state", str(tmp_path)])
