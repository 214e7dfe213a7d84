"""What a platform team can say of its installation: one value, from which every manifest is rendered.

`bartizan install -f values.yaml --set KEY=VALUE` and the chart's `values.yaml` are read into it, by the same words.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from certs.profile import MAX_SVID_S, MIN_S
from injector.hints import explain
from injector.settings import PullPolicy, injector_of
from injector.yaml_text import YamlError, read_yaml
from sidecar.model.errors import ConfigError
from sidecar.model.value import Value

# Anchors that JSON Schema and RE2 know too.
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_QUANTITY = "[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?"
RESERVED = "replicas"       # bartizan-injector-replicas is a Service of all revisions

Revision = Annotated[str, msgspec.Meta(pattern=f"^({_LABEL})?$", max_length=32, extra_json_schema={"not": {"const": RESERVED}})]
Namespace = Annotated[str, msgspec.Meta(pattern=f"^{_LABEL}$", max_length=63)]
Image = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._:/@-]*$", max_length=512)]
Domain = Annotated[str, msgspec.Meta(pattern=f"^{_LABEL}(\\.{_LABEL})*$", max_length=253)]
Quantity = Annotated[str, msgspec.Meta(pattern=f"^{_QUANTITY}$", max_length=32)]
MaybeQuantity = Annotated[str, msgspec.Meta(pattern=f"^({_QUANTITY})?$", max_length=32)]
Replicas = Annotated[int, msgspec.Meta(ge=1, le=9)]
Workers = Annotated[int, msgspec.Meta(ge=1, le=16)]
Number = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Amounts(Value, frozen=True):
    """Of a container."""

    cpu: Quantity | None = None
    memory: Quantity | None = None


class Resources(Value, frozen=True):
    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


class AllResources(Value, frozen=True):
    """
    Args:
        injector, issuer: of each replica.
        sidecar: of each pod's sidecar.
    """

    injector: Resources = Resources(Amounts("100m", "128Mi"), Amounts(memory="1Gi"))
    issuer: Resources = Resources(Amounts("50m", "64Mi"), Amounts(memory="256Mi"))
    sidecar: Resources = Resources(Amounts("50m", "64Mi"), Amounts(memory="256Mi"))


class PullSecret(Value, frozen=True):
    """
    Args:
        name: of a Secret in bartizan-system.
    """

    name: Namespace


class Persistence(Value, frozen=True):
    """Where evidence and the issuance log are kept.

    Args:
        size: of each replica's volume; empty: on the node, and gone with the pod.
        storage_class: empty: the cluster's default.
    """

    size: MaybeQuantity = ""
    storage_class: str = ""


class NodePorts(Value, frozen=True):
    """
    Args:
        http, https: 0: the cluster chooses one.
    """

    http: Number = 0
    https: Number = 0


class GatewayService(Value, frozen=True):
    """
    Args:
        type: LoadBalancer, NodePort or ClusterIP.
        external_traffic_policy: `Local` keeps the clients' addresses; nodes without a gateway then answer no client.
        annotations: what a cloud's load balancer is told by.
        node_ports: of the nodes.
    """

    type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "LoadBalancer"
    external_traffic_policy: Literal["Local", "Cluster"] = "Local"
    annotations: dict[str, str] = {}  # noqa: RUF012 -- msgspec copies it for each value
    node_ports: NodePorts = NodePorts()


class Gateway(Value, frozen=True):
    """The ingress gateway, one of a mesh: of several revisions one asks for it.

    Args:
        ingress: there is one.
        replicas: of its pods.
        workers: processes of each.
        service: by which clients come in.
        resources: of each replica.
        default_class: Ingresses that name no class are ours.
        gateway_api: a GatewayClass, where the cluster knows the Gateway API.
    """

    ingress: bool = False
    replicas: Replicas = 2
    workers: Workers = 1
    service: GatewayService = GatewayService()
    resources: Resources = Resources(Amounts("100m", "128Mi"), Amounts(memory="512Mi"))
    default_class: bool = False
    gateway_api: bool = False


class Plan(Value, frozen=True):
    """
    Args:
        image: one for every part.
        image_pull_policy: of control plane and sidecars.
        image_pull_secrets: for the control plane's pods: [{name: SECRET}].
        revision: of this control plane; empty: the one of the namespaces that name none.
        replicas: of injector and issuer, each.
        trust_domain: first part of every SPIFFE ID; fixed from the first start on.
        cluster_domain: of the cluster's DNS; certificates of the control plane carry names below it.
        resources: requests and limits.
        persistence: where evidence and the issuance log are kept.
        priority_class_name: of the control plane's pods; empty: none.
        pod_security: level that bartizan-system enforces; the control plane keeps to `restricted`.
        create_namespace: print bartizan-system; false where something else makes it.
        secret_namespaces: where policies and annotations may name Secrets: the injector reads Secrets there, and nowhere else.
        network_policies: who may speak to the control plane and to whom it speaks.
        api_server_ports: where the API server is reached; the network policies let the control plane out to these and no others.
        net_raw: give the interception NET_RAW as well, which legacy iptables needs.
        lifetime_s: of workloads' certificates.
        address_unchecked_because: why a pod's token may come from another address than the pod's; empty: it may not.
        csr_signer: sign CertificateSigningRequests for `bartizan.dev/workload`.
        learning_days: how far back the profile of a workload's egress looks.
        gateway: where clients come in that have no identity in the mesh.
    """

    image: Image = "bartizan:0.1.0"
    image_pull_policy: PullPolicy = "IfNotPresent"
    image_pull_secrets: tuple[PullSecret, ...] = ()
    revision: Revision = ""
    replicas: Replicas = 2
    trust_domain: Domain = "cluster.local"
    cluster_domain: Domain = "cluster.local"
    resources: AllResources = AllResources()
    persistence: Persistence = Persistence()
    priority_class_name: str = "system-cluster-critical"
    pod_security: Literal["", "privileged", "baseline", "restricted"] = "restricted"
    create_namespace: bool = True
    secret_namespaces: tuple[Namespace, ...] = ()
    network_policies: bool = True
    api_server_ports: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1, le=65535)], ...], msgspec.Meta(min_length=1)] = (443, 6443)
    net_raw: bool = False
    lifetime_s: Annotated[int, msgspec.Meta(ge=MIN_S, le=MAX_SVID_S)] = MAX_SVID_S
    address_unchecked_because: str = ""
    csr_signer: bool = False
    learning_days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 7
    gateway: Gateway = Gateway()

    @property
    def injector(self) -> str:
        """The name of the injector's objects."""
        return injector_of(self.revision)


def read_plan(files: Iterable[str] = (), sets: Iterable[str] = (), **more: object) -> Plan:
    """
    Args:
        files: YAML; a later one counts before an earlier one, field by field.
        sets: `persistence.size=10Gi`; they count before the files. A value is read as YAML: `secretNamespaces=[shop, billing]`.
        more: what counts before all of it.
    Raises:
        ConfigError: an unknown key, with the nearest word; a value of the wrong kind.
    """
    values = values_of(Plan())
    for file in files:
        values = _over(values, _values_of(file))
    for text in sets:
        key, is_said, value = text.partition("=")
        if not is_said or not key:
            raise ConfigError("--set", f"{text!r} is not KEY=VALUE")
        values = _over(values, _nested(key, _read(value, f"--set {key}")))
    return plan_of(_over(values, more))


def values_of(plan: Plan) -> dict[str, Any]:
    """What it says as it is written, defaults too; what is not said at all is left out."""
    values: dict[str, Any] = _written(plan)
    return values


def _written(value: object) -> Any:
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    if not isinstance(value, msgspec.Struct):
        return value
    found = ((field.encode_name, getattr(value, field.name)) for field in msgspec.structs.fields(value))
    return {name: _written(one) for name, one in found if one is not None}


def plan_of(values: Mapping[str, object]) -> Plan:
    """ConfigError for an unknown key, with the nearest word, and for a value of the wrong kind."""
    try:
        plan = msgspec.convert(values, Plan)
    except msgspec.ValidationError as exc:
        path, problem = explain(exc, Plan, "")
        raise ConfigError("" if path in problem else path, problem) from exc
    if plan.revision == RESERVED:
        raise ConfigError("revision", f"{RESERVED!r} is taken by the Service of all revisions; choose another name")
    return plan


def _values_of(file: str) -> dict[str, Any]:
    try:
        text = Path("/dev/stdin" if file == "-" else file).read_bytes().decode()
    except OSError as exc:
        raise ConfigError(file, f"cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(file, "the text is not valid UTF-8") from exc
    found = _read(text, file)
    if not isinstance(found, dict | None):
        raise ConfigError(file, "it holds no fields, such as `replicas: 3`")
    return found or {}


def _read(text: str, where: str) -> Any:
    try:
        return read_yaml(text).data
    except YamlError as exc:
        raise ConfigError(where, str(exc)) from exc


def _nested(key: str, value: object) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of both, those of `over` before those of `under`; a list is taken whole."""
    both = {key: _over(under[key], value) if isinstance(value, dict) and isinstance(under.get(key), dict) else value
            for key, value in over.items()}
    return {**under, **both}


