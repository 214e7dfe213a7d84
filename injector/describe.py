"""What stands for one pod or one Service, in one value: what enters, by whom; what leaves, by whose approval; what does not, and why.

Pure. Taken from the snapshot that its sidecar is meant to have, so that it says what is enforced and not what was meant.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from sidecar.model import route
from sidecar.model.egress import EgressHost, EgressRange
from sidecar.model.errors import ConfigError
from sidecar.model.snapshot import Inbound, Snapshot

from .bare import why_bare
from .cluster import Cluster
from .cluster.objects import Object, Pod, at, selects
from .compile.explain import find_pod
from .compile.in_force import Rule
from .compile.services import Services, ports_leading_to, ports_of
from .description import EgressView, EndpointView, PodView, PortView, RouteView, ServicePortView, ServiceView
from .documents import INJECTION
from .exclude import passing
from .hardening import left_open
from .hints import nearest
from .settings import Settings
from .status import PodStatus, owner_name

KINDS = {"pod": "pod", "po": "pod", "pods": "pod", "svc": "service", "service": "service", "services": "service"}
LIMITS = ("jwt", "rate_limit", "concurrency", "max_body_bytes", "fault", "rewrite", "redirect", "direct_response", "upgrades", "request_s",
          "idle_s")


def find(cluster: Cluster, name: str) -> Pod | Object:
    """`NAMESPACE/POD`, `NAMESPACE/pod/POD`, `NAMESPACE/svc/SERVICE`, or a workload's name. A pod counts before a Service.

    Raises ConfigError with the nearest name.
    """
    namespace, _, rest = name.partition("/")
    kind, slash, plain = rest.partition("/")
    if slash and KINDS.get(kind.lower()) == "service":
        return _service(cluster, namespace, plain)
    if slash:
        return find_pod(cluster, f"{namespace}/{plain}")
    try:
        return find_pod(cluster, name)
    except ConfigError:
        if (namespace, rest) not in cluster.services:
            raise
        return _service(cluster, namespace, rest)


def _service(cluster: Cluster, namespace: str, name: str) -> Object:
    if (found := cluster.services.get((namespace, name))) is not None:
        return found
    known = [plain for of, plain in cluster.services if of == namespace]
    hint = nearest(name, known) if known else "; there is none"
    raise ConfigError("service", f"no Service is called {name[:100]!r} in the namespace {namespace[:100]!r}{hint}")


# -- a pod


def pod_view(pod: Pod, cluster: Cluster, status: PodStatus, snapshot: Snapshot | None, rules: tuple[Rule, ...]) -> PodView:
    """
    Args:
        snapshot: the one that it is meant to have; None: it has no sidecar, or does not run.
        rules: all that it declares.
    """
    broken = tuple(rule for rule in rules if rule.standing != "in force")
    whole = PodView(status, owner_name(pod, cluster), addresses=pod.addresses, rules=broken)
    if snapshot is None:
        return msgspec.structs.replace(whole, warnings=tuple(_outside(pod, cluster)))
    inbound, outbound = snapshot.inbound, snapshot.outbound
    return msgspec.structs.replace(
        whole,
        identity=snapshot.workload.identity,
        ports=tuple(_ports(pod, cluster, inbound)),
        routes=tuple(map(_route_view, inbound.routes or ())),
        without_routes=inbound.without_routes if inbound.routes is None else "",
        egress=(*map(_host_view, outbound.hosts), *map(_range_view, outbound.ranges)),
        observed_until=outbound.observe_until or 0.0 if outbound.mode == "observe" else 0.0,
        isolated_in=inbound.isolation.policies if inbound.isolation is not None else (),
        isolated_out=outbound.isolation.policies if outbound.isolation is not None else (),
        is_approved_by_them=outbound.isolation is not None and outbound.isolation.approves,
        warnings=tuple(_pod_warnings(pod, snapshot)),
        suggestions=tuple(_suggestions(pod, cluster, snapshot, status)),
    )


def _outside(pod: Pod, cluster: Cluster) -> Iterator[str]:
    """Why it has no sidecar, and how it would get one."""
    if pod.is_meshed:
        yield "it does not run: it has no address yet, or has ended"
    else:
        why = why_bare(pod, cluster, Settings())
        yield f"it has no sidecar: {why or f'namespace {pod.namespace} is not labelled {INJECTION}=enabled'}"


def _ports(pod: Pod, cluster: Cluster, inbound: Inbound) -> Iterator[PortView]:
    services: dict[int, list[str]] = {}
    for service, port, number in ports_leading_to(pod, cluster):
        services.setdefault(number, []).append(f"{service.name}.{service.namespace}:{port['port']}")
    named = {one.port for one in inbound.routes or () if one.port is not None}
    for number in sorted({*inbound.ports, *services, *inbound.port_modes, *named, *pod.tcp_ports}):
        mode = inbound.mode_at(number)
        text = f"permissive until {date(mode.permissive_until)}" if mode.mode == "permissive" and mode.permissive_until else mode.mode
        yield PortView(number, inbound.ports.get(number, "http"), text, tuple(sorted(services.get(number, ()))))


def _route_view(rule: route.Route) -> RouteView:
    names = rule.__struct_fields__, rule.__struct_encode_fields__
    encoded = dict(zip(*names, strict=True))
    besides = [encoded[name] for name in LIMITS if getattr(rule, name)]
    return RouteView(
        rule.name, rule.port or 0, tuple(_request(one, rule.hosts) for one in rule.matches or (route.Match(),)),
        tuple(map(caller_words, rule.allow)), tuple(map(caller_words, rule.deny)), tuple(besides))


def _request(match: route.Match, hosts: tuple[str, ...]) -> str:
    """`GET /orders*`"""
    path = "*"
    if match.path is not None:
        path = {"Exact": "{}", "PathPrefix": "{}*", "RegularExpression": "~{}"}[match.path.type].format(match.path.value)
    more = [f"{one.name}: {one.value}" for one in match.headers] + [f"?{one.name}={one.value}" for one in match.query]
    return " ".join([match.method or "*", path, *more, *([f"at {', '.join(hosts)}"] if hosts else [])])


def caller_words(caller: route.Caller) -> str:
    """`web.shop`, or what else names it."""
    words = [caller.identity] if caller.identity is not None else []
    if caller.source is not None:
        words.append(f"plaintext from {caller.source}")
    if not words or (caller.service_account, caller.namespace) != ("*", "*"):
        words.append(f"{caller.service_account}.{caller.namespace}")
    words += [f"with {name} {' or '.join(values)}" for name, values in caller.claims.items()]
    return " ".join("anybody in the mesh" if word == "*.*" else word for word in words)


def _host_view(host: EgressHost) -> EgressView:
    how = []
    if host.plain_ports:
        where = ",".join(map(str, host.plain_ports))
        if host.tls is None:
            how.append(f"http:{where} in plaintext")
        else:
            mutual = f", with certificate {host.tls.client_certificate.name}" if host.tls.client_certificate else ""
            how.append(f"http:{where} -> TLS {host.tls.min_version}+ :{host.tls.port}{mutual}")
            how += [f"{one.check} waived until {date(one.until)}: {one.reason}" for one in host.tls.waivers]
    if host.tls_ports:
        how.append(f"the application's TLS:{','.join(map(str, host.tls_ports))}")
    if host.tcp_ports:
        how.append(f"tcp:{','.join(map(str, host.tcp_ports))}{'' if host.tls else ' in plaintext'}")
    if host.methods or host.paths:
        how.append(f"{' '.join(host.methods) or 'any method'} {' '.join(host.paths) or 'any path'}")
    if host.gateway is not None:
        how.append(f"by the gateway {host.gateway.service}:{host.gateway.port}")
    missing = host.tls is not None and host.tls.client_certificate is not None and host.tls.client_certificate.chain is None
    why = host.unreadable or ("its client certificate's Secret is missing, or holds no tls.crt and tls.key" if missing else "")
    return EgressView(host.host, host.rule, tuple(how), why)


def _range_view(item: EgressRange) -> EgressView:
    how = [f"tcp:{','.join(map(str, item.ports)) or 'every port'}"]
    if item.gateway is not None:
        how.append(f"by the gateway {item.gateway.service}:{item.gateway.port}")
    return EgressView(item.cidr, item.rule, tuple(how))


def _pod_warnings(pod: Pod, snapshot: Snapshot) -> Iterator[str]:
    for address in snapshot.workload.uncaptured:
        yield f"a packet rule is lost: at {address} the injector could pass its sidecar by"
    yield from (f"{words} passes the sidecar by" for words in passing(pod))
    yield from left_open(pod)


def _suggestions(pod: Pod, cluster: Cluster, snapshot: Snapshot, status: PodStatus) -> Iterator[str]:
    if snapshot.inbound.routes is None and snapshot.inbound.without_routes == "mesh":
        yield "no bartizan.dev/routes: any verified workload of the mesh may call it; say who may"
    for one in snapshot.inbound.routes or ():
        if not one.allow:
            yield f'the route "{one.name}" lets nobody in; name callers in `allow`'
    if status.permissive_until:
        yield "plaintext is let in; see who still needs it: bartizan audit mtls"
    if not status.native:
        yield "its sidecar is no native one: a Job with it does not complete; create the pod anew on Kubernetes 1.29 or newer"
    if not pod.is_ready:
        yield f"it is not ready; kubectl -n {pod.namespace} logs {pod.name} -c bartizan-sidecar"


# -- a Service


def service_view(service: Object, cluster: Cluster, services: Services) -> ServiceView:
    """
    Args:
        services: those of this cluster, compiled.
    """
    full, selector = f"{service.name}.{service.namespace}", at(service.data, "spec", "selector")
    found = [one for one in services.found if one.name == full]
    pods = {
        pod.name: pod.has_sidecar for (of, _), pod in sorted(cluster.pods.items())
        if selector and of == service.namespace and not pod.has_ended and selects(selector, pod.labels)
    }
    ports = tuple(
        ServicePortView(one.port, one.protocol, tuple(EndpointView(end.address, end.port, end.identity) for end in one.endpoints),
                        tuple(rule.name for rule in one.rules))
        for one in found
    )
    addresses = found[0].addresses if found else ()
    return ServiceView(
        service.namespace, service.name, addresses, ports, pods, tuple(services.problems.get(full, ())),
        tuple(_service_warnings(service, cluster, ports, pods)))


def _service_warnings(service: Object, cluster: Cluster, ports: tuple[ServicePortView, ...], pods: dict[str, bool]) -> Iterator[str]:
    if not ports_of(cluster, service.namespace, service.name):
        yield "it is no Service of the mesh: it has no selector, no TCP port, or is an ExternalName; what it leads to is egress"
        return
    if not pods:
        yield "it selects no pod that runs"
    if bare := [name for name, has_sidecar in pods.items() if not has_sidecar]:
        yield f"without sidecar, and never called by the mesh: {', '.join(bare)}"
    for one in ports:
        if not one.endpoints and any(pods.values()):
            yield f"port {one.port} has no endpoint: its pods are not ready, or have no such target port"


def date(at_s: float) -> str:
    """In UTC, to the second."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
