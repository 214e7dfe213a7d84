"""Floor 0: the values that everything else speaks of. Standard library and msgspec only; no I/O, no decisions."""
