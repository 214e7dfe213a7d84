"""The numbers that the packet rules, the injected pod and the proxy must agree on."""

from typing import Literal

Family = Literal[4, 6]

INBOUND = 15006     # PREROUTING sends every TCP connection here
OUTBOUND = 15001    # OUTPUT sends every TCP connection of the application here; bound to loopback only
DNS = 15053         # OUTPUT sends UDP port 53 here; bound to loopback only
HEALTH = 15021      # never bound: asked through the captured inbound port, so that an answer proves the redirect
METRICS = 15020     # never bound either; answered by the inbound listener
GATEWAY = 15008     # of an egress gateway: sidecars send here what leaves by it; bound only where no packet rules bring it

OWN = frozenset({INBOUND, OUTBOUND, DNS, HEALTH, METRICS, GATEWAY})

NAME_SERVER = 53    # whoever is asked there, the DNS guard answers

# The sidecar's own packets to these are *not* exempt from one table each, so that it can test the very rules that hold the
# application. See sidecar/intercept.py. Of the nat table: addresses that are nobody's (RFC 5737 and RFC 3849, documentation).
NAT_CANARY: dict[Family, str] = {4: "192.0.2.1", 6: "2001:db8:ba:271::1"}
# Of the filter table, and of none at all: multicast. It passes the OUTPUT rules like any destination elsewhere, needs no route, and
# stays in the host: IPv6 by its scope, IPv4 because it is sent through lo (TTL 0 does not hold what nobody here has joined).
FILTER_CANARY: dict[Family, str] = {4: "239.255.43.22", 6: "ff01::ba:272"}
EXEMPT_CANARY: dict[Family, str] = {4: "239.255.43.21", 6: "ff01::ba:271"}
CANARY_PORT = 9
