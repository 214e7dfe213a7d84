"""Floor 1: decisions as pure functions; no I/O, no clock of their own, no counting."""
