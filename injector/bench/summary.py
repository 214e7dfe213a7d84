"""Medians over rounds, and how they compare to the reference. Plain numbers in, plain numbers out."""

from collections.abc import Mapping, Sequence
from statistics import median

Rounds = Sequence[Mapping[str, float]]     # of one proxy: measure -> number, a mapping for each round


def medians(rounds: Rounds) -> dict[str, float]:
    """By measure; a measure that one round lacks is left out."""
    if not rounds:
        return {}
    return {name: median(one[name] for one in rounds) for name in rounds[0] if all(name in one for one in rounds)}


def ratios(rounds: Rounds, reference: Rounds) -> dict[str, float]:
    """By measure: the median of each round's number over the reference's of the same round.

    Rounds are interleaved, so that what disturbs the machine for a while disturbs both numbers of a pair.
    """
    paired = [{name: one[name] / other[name] for name in one if other.get(name, 0) > 0}
              for one, other in zip(rounds, reference, strict=False)]
    return medians(paired)


def spread(values: Sequence[float]) -> float:
    """(greatest - least) / median: how far to trust it; 0 for one value."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0
