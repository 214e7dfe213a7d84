"""What enters the workload ORDERS: rules for it, and who may."""

from sidecar.model.route import Caller, Match, PathMatch, Route
from sidecar.model.service import Endpoint, Protocol
from sidecar.model.snapshot import Inbound
from sidecar.policy.rules import Rules
from tests.helpers.mesh import APP
from tests.helpers.pki import ORDERS, WEB
from tests.helpers.runtime import CLIENT, rules

BY_WEB = (Caller("web", "shop"),)
FROM_WEB = Endpoint(CLIENT, APP.port, WEB)      # the address and identity of who calls
OPAQUE: dict[int, Protocol] = {APP.port: "opaque"}
PERMISSIVE = Inbound(mode="permissive", permissive_until=4e9)
ADMIN_FIRST = Inbound(routes=(
    Route("admin", (Caller("root", "ops"),), matches=(Match(PathMatch("/admin")),)),
    Route("all", BY_WEB),
))


def of_orders(inbound: Inbound) -> Rules:
    return rules(inbound, identity=ORDERS)
