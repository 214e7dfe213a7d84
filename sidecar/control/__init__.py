"""Floor 3: what changes while we run: certificate, snapshot, health, admin."""
