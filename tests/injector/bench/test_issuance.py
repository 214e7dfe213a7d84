"""The issuer of the benchmark issues, and the bare work is done; how long either takes is nobody's business here."""

import time
from pathlib import Path

from certs import files, log
from injector.bench.issuance import REQUESTS, Issuance


def test_both_are_measured(tmp_path: Path) -> None:
    made = Issuance(tmp_path / "authority", time.time())
    requests = made.requests()
    assert made.issued_us(requests) > 0
    assert made.bare_us(requests) > 0
    made.close()
    issued = list(log.read(tmp_path / "authority" / files.LOG))
    assert len(issued) == len({entry.key for entry in issued}) == REQUESTS
