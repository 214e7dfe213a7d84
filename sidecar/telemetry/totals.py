"""What several processes have counted, as one: counters are added up, of gauges that of the worst is told (`metrics.GAUGES`).

No sum ever falls: what a process had counted when it was last asked still counts when it does not answer, or has ended and another
has begun from nothing in its place.
"""

from collections import defaultdict
from collections.abc import Container, Mapping

from .metrics import GAUGES, render

Series = dict[tuple[str, str], float]   # by name and labels


class Totals:
    def __init__(self) -> None:
        self._latest: dict[int, Series] = {}
        self._ended: defaultdict[tuple[str, str], float] = defaultdict(float)

    def take(self, number: int, text: str) -> None:
        """What the process of this number has counted by now, as `Metrics.render` says it."""
        self._latest[number] = _read(text)

    def ended(self, number: int) -> None:
        """The next one of this number begins from nothing."""
        for key, value in self._latest.pop(number, {}).items():
            if key[0] not in GAUGES:
                self._ended[key] += value

    def render(self, answering: Container[int], own: Mapping[str, float]) -> str:
        """
        Args:
            answering: the processes whose gauges are told.
            own: values besides, or in the place of what processes say.
        """
        found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for key, ended in self._ended.items():
            found[key].append(ended)
        for number, series in self._latest.items():
            for key, value in series.items():
                if key[0] not in GAUGES or number in answering:
                    found[key].append(value)
        values = {key: GAUGES.get(key[0], sum)(several) for key, several in found.items()}
        values.update({(name, ""): value for name, value in own.items()})
        return render((name, labels, value) for (name, labels), value in sorted(values.items()))


def _read(text: str) -> Series:
    """Each value that is told; a label's value may hold blanks and braces."""
    series: Series = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            name, brace, labels = key.partition("{")
            series[name, brace + labels] = float(value)
    return series
