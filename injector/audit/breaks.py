"""Where two neighbouring lines of a chain do not fit: which line is the first that cannot be true, and what was done to it.

The chain itself says only that they do not fit. What was done shows in the rest of the file: a line that stands elsewhere, one that
stands there twice, and how many lines there should be by the last countersignature.
"""

from collections.abc import Sequence

from sidecar.model.chain import Broken, hash_of, previous_of


def explain(lines: Sequence[bytes], at: int, head: str, missing: int | None) -> Broken:
    """
    Args:
        lines: of the file, with their line feeds.
        at: index of the first line that does not follow.
        head: hash of the line before it.
        missing: how many lines the file has too few, by its last countersignature; negative: too many; None: nothing says.
    """
    hashes = [hash_of(line.removesuffix(b"\n")) for line in lines]
    previous = [previous_of(line) for line in lines]
    number = at + 1
    if hashes[at] in hashes[:at]:
        return Broken(number, f"is a copy of line {hashes.index(hashes[at]) + 1}")
    if head in previous[at + 1:]:
        follows = previous.index(head, at + 1)
        what = "was moved here or put in" if follows == at + 1 else "and those after it were moved here or put in"
        return Broken(number, f"{what}: line {follows + 1} is what follows from the line before")
    if previous[at] in hashes[at:]:
        return Broken(number, f"was moved: it follows from line {hashes.index(previous[at], at) + 1}, which stands behind it")
    if at and missing == 0:
        return Broken(at, f"was changed: line {number} and the last countersignature know it with another hash")
    if missing is not None and missing > 0:
        return Broken(number, f"does not follow from the line before it: {missing} lines between them are gone")
    if missing is not None and missing < 0:
        return Broken(number, f"does not follow from the line before it: {-missing} lines too many were put in")
    return Broken(number, "does not follow from the line before it; that one was changed, or lines between them are gone")
