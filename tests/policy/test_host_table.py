"""Names among many approvals; what a wildcard stands for: tests/policy/test_egress.py."""

import sys
from types import FrameType
from typing import Any

from sidecar.model.egress import EgressHost
from sidecar.policy.host_table import HostTable


def test_of_two_approvals_for_one_name_the_first_counts() -> None:
    table = HostTable((EgressHost("a.example", "first"), EgressHost("a.example", "second")))
    found = table.find("a.example")
    assert found is not None
    assert found.rule == "first"


def test_ten_thousand_approvals_cost_what_ten_cost() -> None:
    """Counted in lines of the product that are run, since time is no measure."""
    def lines(count: int, wanted: str) -> int:
        table = HostTable(EgressHost(f"{star}h{i}.example", "r") for i in range(count) for star in ("", "*."))
        seen = 0

        def count_line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal seen
            seen += event == "line" and frame.f_globals["__name__"].startswith("sidecar.")
            return count_line

        before = sys.gettrace()
        sys.settrace(count_line)
        try:
            table.find(wanted)
        finally:
            sys.settrace(before)
        return seen

    for wanted in ("h9.example", "a.b.h9.example", "unknown.example", "a.unknown.example"):
        assert 0 < lines(10_000, wanted) == lines(10, wanted)
