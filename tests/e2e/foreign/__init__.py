"""Clients and servers that this project did not write, through two sidecars: `make e2e`."""
