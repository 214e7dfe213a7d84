"""Lengths of time and sizes as people write them, and the numbers that the compiler makes of them.

Spec: GEP-2257 for durations: hours, minutes, seconds and milliseconds, whole numbers, each with its unit.
"""

import re
from typing import Annotated

import msgspec

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_UNITS_BYTES = {
    "": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
}
_PART = re.compile("([0-9]+)(h|ms|m|s)")

Duration = Annotated[str, msgspec.Meta(
    pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}(?!\n)$", description="a duration such as 3s, 500ms or 1m30s", examples=["3s", "500ms", "1m30s"],
)]
Size = Annotated[
    Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}([KMG]iB?|[kMG]B|B)?(?!\n)$")],
    msgspec.Meta(description="a size such as 1MiB, 64KiB or a number of bytes", examples=["1MiB", 65536]),
]


def seconds(text: str) -> float:
    """
    Args:
        text: a Duration.
    """
    return sum(int(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


def in_bytes(size: int | str) -> int:
    """
    Args:
        size: a Size.
    """
    if isinstance(size, int):
        return size
    digits = size.rstrip("BKMGik")
    return int(digits) * _UNITS_BYTES[size[len(digits):]]
