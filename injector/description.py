"""What stands for one pod or one Service, as the injector tells it (`describe.py`) and the operator's command shows it."""

from sidecar.model.value import Value

from .compile.in_force import Rule
from .status import PodStatus


class PortView(Value, frozen=True):
    """A port of the application.

    Args:
        mode: `strict`, or `permissive until` a date.
        services: by which it is called: `orders.shop:80`.
    """

    port: int
    protocol: str
    mode: str
    services: tuple[str, ...] = ()


class RouteView(Value, frozen=True):
    """
    Args:
        port: 0: every port.
        besides: what else it asks for: `rateLimit`, `jwt`.
    """

    name: str
    port: int
    requests: tuple[str, ...]
    allow: tuple[str, ...]
    deny: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()


class EgressView(Value, frozen=True):
    """
    Args:
        policy: and its entry, on which it rests.
        how: in words; empty: as the application speaks.
        why_not: it is approved, and cannot be reached.
    """

    to: str
    policy: str
    how: tuple[str, ...] = ()
    why_not: str = ""


class PodView(Value, frozen=True):
    """
    Args:
        without_routes: who may call where no route is declared: `mesh` or `nothing`; empty: routes decide.
        observed_until: Unix seconds; 0: what nobody approves is refused.
        rules: those that are not in force as they are written.
        isolated_in, isolated_out: the NetworkPolicies that isolate it for what enters and what leaves.
        is_approved_by_them: of what leaves.
    """

    status: PodStatus
    owner: str
    identity: str = ""
    addresses: tuple[str, ...] = ()
    ports: tuple[PortView, ...] = ()
    routes: tuple[RouteView, ...] = ()
    without_routes: str = ""
    egress: tuple[EgressView, ...] = ()
    observed_until: float = 0.0
    rules: tuple[Rule, ...] = ()
    isolated_in: tuple[str, ...] = ()
    isolated_out: tuple[str, ...] = ()
    is_approved_by_them: bool = False
    warnings: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()


class EndpointView(Value, frozen=True):
    address: str
    port: int
    identity: str


class ServicePortView(Value, frozen=True):
    port: int
    protocol: str
    endpoints: tuple[EndpointView, ...] = ()
    rules: tuple[str, ...] = ()


class ServiceView(Value, frozen=True):
    """
    Args:
        pods: that it selects, with whether they have a sidecar.
    """

    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    ports: tuple[ServicePortView, ...] = ()
    pods: dict[str, bool] = {}  # noqa: RUF012 -- msgspec copies it for each value
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Description(Value, frozen=True):
    """A pod or a Service.

    Args:
        now: the injector's clock, Unix seconds.
    """

    pod: PodView | None = None
    service: ServiceView | None = None
    now: float = 0.0
