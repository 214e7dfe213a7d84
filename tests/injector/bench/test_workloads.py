import re
from typing import cast

import pytest
import trio

from injector.bench.control.rows import Desk
from injector.bench.errors import BenchError, NotAvailable
from injector.bench.measures import Numbers
from injector.bench.proxies import PROXIES
from injector.bench.workloads import BESIDE_PEERS, WORKLOADS, of_control
from injector.bench.world import World


def test_names_are_words_for_the_command_line() -> None:
    names = [workload.name for workload in WORKLOADS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_-]+", name) for name in names)


def test_what_others_can_do_too_has_the_order_of_the_table() -> None:
    assert " ".join(one.name for one in BESIDE_PEERS) == (
        "a b c_100 c_1000 c_3000 d_serial d_multi e f g_plain g_mtls h i j k l")


class OneDesk:
    def desk(self) -> Desk | None:
        return None


@pytest.mark.parametrize(("fails", "why"), [
    (BenchError("it answers 500"), "it answers 500"), (ExceptionGroup("", [ExceptionGroup("", [BenchError("inside")])]), "inside"),
    (trio.TooSlowError(), "TooSlowError"),
])
def test_a_row_of_the_control_plane_that_fails_stops_no_other(fails: Exception, why: str) -> None:
    def row(desk: Desk, seconds: float) -> Numbers:
        raise fails

    with pytest.raises(NotAvailable, match=why):
        of_control(row)(cast(World, OneDesk()), PROXIES[0], 1)


def test_proxies_have_no_control_plane() -> None:
    with pytest.raises(NotAvailable, match="no control plane"):
        of_control(lambda desk, seconds: {})(cast(World, OneDesk()), PROXIES[1], 1)
