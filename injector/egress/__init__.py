"""What workloads reach outside of the mesh, as their ledgers tell: what would approve it, and what is unusual about it."""
