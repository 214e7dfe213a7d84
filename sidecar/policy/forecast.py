"""What the rules say to a question before anything is sent: what is meant, what approves it, how it would be verified.

Pure, and the very judge that the recipes ask. The sidecar goes on from here (`proxy/explain.py`); `bartizan egress explain -f` has
nothing but manifests and ends here.
"""

from collections.abc import Sequence

import msgspec

from sidecar.model.address import Address, canonical, is_address
from sidecar.model.decision import Denied, Permit
from sidecar.model.egress import EgressHost, GatewayRef, Origination
from sidecar.model.explanation import Question, Step, StepName, no, step
from sidecar.model.message import RequestHead
from sidecar.model.reason import Reason

from .dns_limits import why_suspicious
from .egress import Kind, ToHost, ToService, why_not
from .network import Network
from .rules import Rules

NOWHERE = "0.0.0.0"


class Forecast(msgspec.Struct, frozen=True):
    """
    Args:
        kind: what the application speaks there.
        service: of the mesh, that is meant, and `to`, at which it is dialled.
        judged: of all else.
        gateway: that leads there, in words; empty: none.
        steps: destination, approval, verification; isolation, where NetworkPolicies isolate the pod and it is known what is connected to.
    """

    kind: Kind
    service: ToService | None
    to: Address | None
    judged: ToHost | Permit | Denied | None
    steps: tuple[Step, ...]
    gateway: str = ""


def forecast(question: Question, host: str, rules: Rules, now: float, request: RequestHead | None) -> Forecast:
    """
    Args:
        host: of the question, in its one spelling.
        now: Unix seconds.
        request: as the application would send it, where it speaks plain HTTP.
    """
    dialled = _service(host, question.port, rules)
    if dialled is not None:
        return _to_service(*dialled, rules)
    if is_address(host.strip("[]")):
        to = Address(str(canonical(host.strip("[]"))), question.port)
        permit, approval = rules.outbound.range(to), rules.outbound.approved_range(to)
        if permit is None and question.kind != "plain":
            permit = rules.outbound.observed_address(to, now)
        if permit is not None:
            led_by = approval.gateway if approval is not None else None
            isolation = _isolation_of(led_by, rules) if led_by is not None else isolation_outside((to.host,), to.port, rules)
            return _to_range(to, permit, _led_by(led_by), isolation)
        if (denied := rules.why_unlisted(to)) is not None and not rules.outbound.observes(now):
            return Forecast(_kind(question, host, rules), None, to, denied, (_address(to), _refusal(denied)))
        if question.kind != "plain":
            denied = Denied(Reason.ADDRESS_NOT_APPROVED, detail=f"no approved range holds {to}")
            kind: Kind = "tls" if question.kind == "tls" else "tcp"
            return Forecast(kind, None, to, denied, (_address(to), _refusal(denied)))
    return _to_host(question, host, rules, now, request)


def _service(host: str, port: int, rules: Rules) -> tuple[ToService, Address] | None:
    """The Service that is meant, and where the application would find it."""
    workload, outbound = rules.snapshot.workload, rules.outbound
    if is_address(host.strip("[]")):
        at = Address(str(canonical(host.strip("[]"))), port)
        found = outbound.service(at)
        return (found, at) if found is not None else None
    short = host.removesuffix("." + rules.snapshot.outbound.cluster_domain).removesuffix(".svc")
    for name in (short, f"{short}.{workload.namespace}"):
        known = outbound.service_named(name, port)
        if known is not None:
            service = known.service
            places = [Address(address, port) for address in service.addresses]
            places += [Address(endpoint.address, endpoint.port) for endpoint in service.endpoints]
            found = outbound.service(places[0]) if places else None
            return (found, places[0]) if found is not None else None
    return None


def _to_service(dialled: ToService, to: Address, rules: Rules) -> Forecast:
    service = dialled.service
    identities = ", ".join(sorted({endpoint.identity for endpoint in dialled.endpoints}))
    return Forecast("plain" if service.is_http else "tcp", dialled, to, dialled.permit, (
        step("destination", "ok", f"the Service {service.name} of the mesh, port {service.port}", facts={
            "address": to, "protocol": service.protocol,
            "endpoints": ", ".join(str(Address(one.address, one.port)) for one in dialled.endpoints),
        }),
        step("approval", "ok", "a Service of the mesh needs none; the pod that is called decides", facts={"rule": dialled.permit.rule}),
        step("verification", "ok", f"TLS 1.3 both ways; it must prove to be {identities or 'an endpoint, and there is none'}",
             facts={"identities": identities}),
        *_isolation(dialled, rules),
    ))


def _to_range(to: Address, permit: Permit, gateway: str, isolation: tuple[Step, ...]) -> Forecast:
    return Forecast("tcp", None, to, permit, (
        _address(to),
        step("approval", "ok", f"it may be reached by {permit.rule}", facts={"rule": permit.rule, "gateway": gateway}),
        step("verification", "ok", "none by the sidecar: bytes pass as they are"),
        *isolation,
    ), gateway)


def _isolation(dialled: ToService, rules: Rules) -> tuple[Step, ...]:
    """What NetworkPolicies leave of a Service's endpoints."""
    if rules.leaving is None or not dialled.endpoints:
        return ()
    listed = [str(Address(one.address, one.port)) for one in dialled.endpoints if rules.may_call(one)]
    if not listed:
        denied = rules.why_nobody(dialled)
        return (no("isolation", denied.reason, denied.detail, {"rule": denied.rule}),)
    return (_listed(listed, rules.leaving),)


def _isolation_of(gateway: GatewayRef, rules: Rules) -> tuple[Step, ...]:
    """What is connected to is the gateway."""
    found = rules.outbound.service_named(gateway.service, gateway.port)
    return _isolation(found, rules) if found is not None else ()


def isolation_outside(addresses: Sequence[str], port: int, rules: Rules) -> tuple[Step, ...]:
    """What NetworkPolicies leave of the addresses of a host."""
    if rules.leaving is None or not addresses:
        return ()
    judged = {to: rules.why_no_way(to) for to in (Address(address, port) for address in addresses)}
    listed = [str(to) for to, denied in judged.items() if denied is None]
    if not listed and (first := next(iter(judged.values()))) is not None:
        return (no("isolation", first.reason, first.detail, {"rule": first.rule}),)
    return (_listed(listed, rules.leaving),)


def _listed(addresses: Sequence[str], network: Network) -> Step:
    words = f"{network.words}, which lists {', '.join(addresses)}"
    return step("isolation", "ok", words, facts={"policies": ", ".join(network.policies)})


def _to_host(question: Question, host: str, rules: Rules, now: float, request: RequestHead | None) -> Forecast:
    kind = _kind(question, host, rules)
    judged: ToHost | Denied = rules.outbound.host(host, question.port, kind, now)
    if isinstance(judged, ToHost) and kind == "plain" and request is not None:
        judged = why_not(judged.approval, request) or judged
    limits, why = rules.snapshot.outbound.dns, ""
    if isinstance(judged, ToHost) and judged.approval.host.startswith("*."):
        why = why_suspicious(host[:1 - len(judged.approval.host)], limits)
        if why and kind != "tcp" and limits.mode != "observe" and not rules.outbound.observes(now):
            judged = Denied(Reason.NAME_SUSPICIOUS, judged.permit.rule, why)
    destination = step("destination", "ok", "an external host", facts={"host": host, "port": question.port, "spoken": _SPOKEN[kind]})
    if isinstance(judged, Denied):
        return Forecast(kind, None, None, judged, (destination, _refusal(judged)))
    approval, gateway = judged.approval, _led_by(judged.approval.gateway)
    verification = _verification(kind, host, approval, now)
    isolation = _isolation_of(approval.gateway, rules) if approval.gateway is not None else ()
    return Forecast(kind, None, None, judged, (
        destination,
        step("approval", "ok", f"approved as {approval.host} by {judged.permit.rule}", facts={
            "rule": judged.permit.rule, "methods": ", ".join(approval.methods), "paths": ", ".join(approval.paths),
            "bytes an hour": approval.bytes_per_hour,
            "gateway": gateway, "the DNS guard": why,
        }),
        _at_gateway(verification, gateway) if gateway else verification,
        *isolation,
    ), gateway)


_SPOKEN: dict[Kind, str] = {"plain": "plain HTTP", "tls": "TLS of the application's own", "tcp": "TCP"}


def _kind(question: Question, host: str, rules: Rules) -> Kind:
    """As asked; else what is approved for the port. Where that is TCP, the name leads to its synthetic address, whatever is spoken."""
    approval, port = rules.outbound.named(host), question.port
    if question.kind != "auto" and (approval is None or port not in approval.tcp_ports):
        return question.kind
    if approval is not None and port not in approval.plain_ports:
        if port in approval.tls_ports:
            return "tls"
        if port in approval.tcp_ports:
            return "tcp"
    return "tls" if approval is None and port == 443 else "plain"


def _address(to: Address) -> Step:
    return step("destination", "ok", "an external address", facts={"address": to})


def _refusal(denied: Denied) -> Step:
    at: StepName = "isolation" if denied.reason is Reason.NETWORK_POLICY_OUT else "approval"
    return no(at, denied.reason, denied.detail, {"rule": denied.rule})


def _verification(kind: Kind, host: str, approval: EgressHost, now: float) -> Step:
    """The effective one."""
    if kind == "tls":
        return step("verification", "ok", "the application verifies; the sidecar judges the TLS name and passes on the rest")
    if approval.tls is None:
        return step("verification", "ok", "none: it leaves as the application speaks, unencrypted where that is")
    tls = approval.tls
    waived = {waiver.check for waiver in tls.waivers if waiver.until > now}
    name = f"the certificate must be for {host}" if "name" not in waived else f"that the certificate is for {host} is waived"
    certificate = tls.client_certificate
    client = certificate.name if certificate is not None else ""
    if certificate is not None and not (certificate.chain and certificate.key) and not (certificate.chain_file and certificate.key_file):
        return no("verification", Reason.CLIENT_CERTIFICATE_MISSING, f"the Secret {client} is missing, or has no tls.crt and tls.key")
    return step(
        "verification", "ok",
        f"TLS {tls.min_version} or newer by the sidecar; {name}" + (f"; it is shown the certificate {client}" if client else ""),
        facts={
            "port": tls.port if kind == "plain" else None, "version": f"{tls.min_version} or newer", "startTls": tls.start_tls,
            "roots": _roots(tls), "name": host if "name" not in waived else "", "one of the names": ", ".join(tls.subject_alt_names),
            "one of the keys": ", ".join(tls.key_pins), "client certificate": client, "waived": ", ".join(sorted(waived)),
        },
    )


def _led_by(gateway: GatewayRef | None) -> str:
    return f"{gateway.service} port {gateway.port}" if gateway is not None else ""


def _at_gateway(verification: Step, gateway: str) -> Step:
    """Whether it has what that needs only the gateway knows."""
    words = f"by the gateway {gateway}, which proves its identity and judges for itself"
    facts = {name: text for name, text in verification.facts.items() if name != "roots"}      # those it has itself
    theirs = verification.words.replace(" by the sidecar", " by the gateway", 1)
    return step("verification", "ok", words if verification.code else f"{words}: {theirs}", facts=facts)


def _roots(tls: Origination) -> str:
    if tls.roots is None:
        return "the system's"
    count = tls.roots.count("BEGIN CERTIFICATE")
    return f"{count} of the policy's caBundle" if count != 1 else "the one of the policy's caBundle"
