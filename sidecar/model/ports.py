"""The numbers that the packet rules, the injected pod and the proxy must agree on."""

INBOUND = 15006     # PREROUTING sends every TCP connection here
OUTBOUND = 15001    # OUTPUT sends every TCP connection of the application here; bound to loopback only
DNS = 15053         # OUTPUT sends UDP port 53 here; bound to loopback only
HEALTH = 15021      # never bound: asked through the captured inbound port, so that an answer proves the redirect
METRICS = 15020     # never bound either; answered by the inbound listener

OWN = frozenset({INBOUND, OUTBOUND, DNS, HEALTH, METRICS})

# Addresses that are nobody's (RFC 5737 and RFC 3849, documentation). The sidecar's own packets to them are *not* exempt from
# one table each, so that the sidecar can test the very rules that hold the application. See sidecar/intercept.py.
NAT_CANARY = {4: "192.0.2.1", 6: "2001:db8:ba:271::1"}
FILTER_CANARY = {4: "192.0.2.2", 6: "2001:db8:ba:271::2"}
# Host-scoped multicast: passes the OUTPUT rules like any non-local destination and then never leaves the host.
EXEMPT_CANARY = {4: "239.255.43.21", 6: "ff01::ba:271"}
CANARY_PORT = 9
