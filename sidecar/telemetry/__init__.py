"""Floor 1: what is told to people and machines."""
