"""What a sidecar says with its question for a snapshot: which Services it needs to know of, besides those of its own namespace.

The mesh may have thousands, and a workload calls few. So the first connection to another namespace's is told to the injector, by the
address that was dialled or the name that was asked for, and every question from then on repeats it: the injector keeps no memory of it,
and any replica can answer.
"""

from typing import Annotated

import msgspec

from .value import Name, Value

MOST_WANTED = 1024


class Needs(Value, frozen=True):
    """
    Args:
        wanted: addresses, and names as `orders.shop`.
        refused: why the snapshot that was seen last is not in force; empty: it is.
    """

    wanted: Annotated[tuple[Name, ...], msgspec.Meta(max_length=MOST_WANTED)] = ()
    refused: Annotated[str, msgspec.Meta(max_length=1000)] = ""
