"""Who a client at the edge is, and whether a rule lets it in.

Trust: the request is a stranger's. Where a rule asks who a client is, nobody is let in as long as nobody can say.
"""

from typing import NamedTuple

from sidecar.model.client import Client
from sidecar.model.decision import Denied, Permit
from sidecar.model.edge import EdgeRoute
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason
from sidecar.policy.authorize import authorize_client
from sidecar.policy.route_table import Found
from sidecar.policy.rules import Rules
from sidecar.telemetry.access_log import Record

from .originate import Originator
from .plan import Reply
from .runtime import Runtime


class Admitted(NamedTuple):
    permit: Permit


class Clients:
    """Lets clients in; one for the process."""

    def __init__(self, originator: Originator, runtime: Runtime) -> None:
        self._runtime = runtime

    async def admit(
        self, found: Found[EdgeRoute], rules: Rules, request: RequestHead, client: Client, record: Record
    ) -> Admitted | Denied | Reply:
        """Whether a request may go on; its fields are then what the application may see, in the very list that `request` holds.

        Args:
            found: the rule that decides, by `rules`.
        """
        if found.rule.access:
            return Denied(Reason.NO_SNAPSHOT, found.rule.name, "nobody can say who a client is")
        judged = authorize_client(found, client.address, None)
        return Admitted(judged) if isinstance(judged, Permit) else judged

    def still(self, admitted: Admitted, client: Client) -> bool:
        """Whether what was let in may go on, by the rules as they are now."""
        rules = self._runtime.rules.current
        routes = rules.snapshot.edge.routes if rules is not None and rules.snapshot.edge is not None else ()
        return any(route == admitted.permit.route for route in routes)
