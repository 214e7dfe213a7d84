"""Which of a pod's processes is asking: a gateway may have several, each with a certificate, a snapshot and a ledger of its own.

To the control plane it says so in its queries, `worker=2/3`; who says nothing is the only one.
"""

import re
from typing import NamedTuple

MOST_WORKERS = 16
_TEXT = re.compile(r"([1-9][0-9]?)/([1-9][0-9]?)", re.ASCII)


class Worker(NamedTuple):
    """
    Args:
        number: from 1.
        of: how many there are.
    """

    number: int = 1
    of: int = 1

    @property
    def query(self) -> str:
        """What it adds to a query that names its pod."""
        return f"&worker={self.number}/{self.of}" if self.of > 1 else ""

    def chain_of(self, pod_uid: str) -> str:
        """How its ledger is called: as its pod, but for those that come after the first."""
        return pod_uid if self.number == 1 else f"{pod_uid}_{self.number}"


ALONE = Worker()


def parse_worker(text: str) -> Worker | None:
    """None: it is none."""
    if (match := _TEXT.fullmatch(text)) is None:
        return None
    worker = Worker(int(match[1]), int(match[2]))
    return worker if worker.number <= worker.of <= MOST_WORKERS else None


def pod_of(chain: str) -> str:
    """The pod's uid, which holds no `_`, of a ledger's name."""
    return chain.partition("_")[0]
