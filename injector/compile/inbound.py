"""What enters a pod: its own rules, the protocols of its ports, and the keys of the token issuers that it asks for."""

from collections.abc import Iterable, Mapping, Set

from injector.cluster import Cluster
from injector.cluster.objects import Pod, objects
from injector.documents import PortMtls, RouteRule, TokenIssuer
from injector.documents.ports import OPAQUE_PORTS
from injector.enforced import route
from injector.key_set import public_keys
from sidecar.model import route as model
from sidecar.model.service import Protocol
from sidecar.model.snapshot import Inbound, PortMode

from .declared import Declared
from .mesh import MeshSettings
from .services import protocols_of

Keys = Mapping[TokenIssuer, str]    # the JWKS that were fetched


def compile_inbound(pod: Pod, said: Declared, mesh: MeshSettings, cluster: Cluster, keys: Keys) -> tuple[Inbound, list[str]]:
    """(what may enter, what of the declared rules is not in force)"""
    rules = (said.routes or {}).values()
    default = _mode(mesh.mtls)
    issuers, problems = _issuers(rules, mesh.token_issuers, keys)
    return Inbound(
        mode=default.mode,
        permissive_until=default.permissive_until,
        port_modes={int(port): _mode(mesh.mtls.ports[port]) for port in sorted(mesh.mtls.ports, key=int)},
        routes=None if said.routes is None else tuple(route(rule, pod.namespace) for rule in rules),
        without_routes=mesh.without_routes,
        ports=port_protocols(pod, said.ports, cluster),
        issuers=issuers,
    ), problems


def _mode(mtls: PortMtls) -> PortMode:
    return PortMode(mtls.mode, mtls.until.timestamp() if mtls.until else None)


def port_protocols(pod: Pod, said: Mapping[int, Protocol], cluster: Cluster) -> dict[int, Protocol]:
    """The annotation counts most, then appProtocol, then what the ports of the pod usually are."""
    own = {
        number for container in pod.containers for port in objects(container.get("ports"), "ports")
        if isinstance(number := port.get("containerPort"), int)
    }
    usual: dict[int, Protocol] = dict.fromkeys(own & OPAQUE_PORTS, "opaque")
    found = {**usual, **protocols_of(pod, cluster), **said}
    return {number: found[number] for number in sorted(found)}


def unknown_issuers(rules: Iterable[RouteRule], known: Iterable[TokenIssuer]) -> list[str]:
    """One text for each rule that asks for tokens of an issuer that the mesh does not trust."""
    names = {issuer.issuer for issuer in known}
    return [
        f'the rule "{rule.name}" asks for tokens of {rule.jwt.issuer}, which no MeshPolicy names among its tokenIssuers; '
        "it refuses every request"
        for rule in rules if rule.jwt is not None and rule.jwt.issuer not in names
    ]


def _issuers(
    rules: Iterable[RouteRule], known: tuple[TokenIssuer, ...], keys: Keys
) -> tuple[tuple[model.TokenIssuer, ...], list[str]]:
    """Those that the rules ask for, as far as their keys are here."""
    asked = {rule.jwt.issuer for rule in rules if rule.jwt is not None}
    found, missing = keys_of(asked, known, keys)
    return found, unknown_issuers(rules, known) + [f"{text}; rules that ask for it refuse every request" for text in missing]


def keys_of(asked: Set[str], known: Iterable[TokenIssuer], keys: Keys) -> tuple[tuple[model.TokenIssuer, ...], list[str]]:
    """(the issuers that are asked for, as far as their keys are here; in words, those whose are not)"""
    found, missing = [], []
    for issuer in known:
        if issuer.issuer not in asked:
            continue
        text = public_keys(issuer.jwks.encode()) if issuer.jwks is not None else keys.get(issuer)
        if text is None:
            missing.append(f"the keys of the token issuer {issuer.issuer} are not here yet")
        else:
            found.append(model.TokenIssuer(issuer.issuer, text))
    return tuple(found), missing
