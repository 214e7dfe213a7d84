"""The examples are what admission accepts, what the programs take and the compiler understands, and all that there is.

Their READMEs leave out no field: examples/routes/, examples/egress/, examples/identity/ and examples/kubernetes/.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from certs import files
from certs.log import Entry as Issuance
from certs.revocation import KINDS
from certs.rotation import NEXT_ROOT, PREVIOUS, ROTATION, Phase
from certs.server import IssuerConfig
from certs.server import parse_config as parse_issuer_config
from injector import documents
from injector.cli import audit
from injector.cli.analyze import analyze
from injector.cli.manifests import manifests_in, read_documents
from injector.cluster import Cluster
from injector.cluster.objects import Object
from injector.compile import compile_workload
from injector.compile.edge_join import Joined
from injector.compile.egress import Asker, compile_egress, unapproved
from injector.compile.last_good import LastGood
from injector.config import InjectorConfig
from injector.config import parse_config as parse_injector_config
from injector.documents import (
    Egress,
    EgressPolicySpec,
    EgressProtocol,
    EndpointsRule,
    HostRequest,
    MeshPolicySpec,
    RangeRequest,
    RouteRule,
    TlsRequest,
    TokenIssuer,
)
from injector.jwks import fetched_issuers
from injector.manifests.plan import Plan, read_plan, values_of
from injector.validate import PROTOCOLS, read_egress
from injector.yaml_text import read_yaml
from sidecar.model import ports
from sidecar.model.config import Config, FileIdentity, IssuedIdentity, LedgerFiles, SnapshotFile
from sidecar.model.config import parse_config as parse_sidecar_config
from sidecar.model.egress import Check, DnsLimits, EgressMode, GatewayRef, StartTls
from sidecar.model.ledger import Countersignature, Entry
from sidecar.model.reason import Reason
from sidecar.model.service import Backend, Endpoint
from sidecar.model.snapshot import parse_snapshot, render_snapshot
from sidecar.telemetry.access_log import Record
from sidecar.telemetry.metrics import HELP
from tests.injector.compile.edge_objects import Asked

FOLDER = Path(__file__).parents[2] / "examples" / "routes"
FILES = sorted(FOLDER.glob("*.yaml"))
README = (FOLDER / "README.md").read_text()
EGRESS = FOLDER.parent / "egress"
EGRESS_FILES = sorted(EGRESS.glob("*.yaml"))
EGRESS_README = (EGRESS / "README.md").read_text()
IDENTITY = FOLDER.parent / "identity"
IDENTITY_README = (IDENTITY / "README.md").read_text()
KEYS = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
WRITTEN = 1_790_000_000.0      # before the dates in them
named = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
of_both = pytest.mark.parametrize("file", [*FILES, *EGRESS_FILES], ids=lambda file: file.name)


def _words(readme: str) -> set[str]:
    """What it says in the type of code, outside of blocks."""
    return {word for code in re.findall("`([^`\n]+)`", readme) for word in re.findall("[A-Za-z0-9_]+", code)}


def _manifests(file: Path) -> list[dict[str, Any]]:
    return [manifest.data for document in read_documents(str(file)) for manifest in manifests_in(str(file), document)]


def _annotations(name: str, files: list[Path] = FILES) -> list[Any]:
    """What every example says under one annotation."""
    found = [Object(data).annotations.get(name) for file in files for data in _manifests(file)]
    return [read_yaml(text).data for text in found if text is not None]


@of_both
def test_admission_accepts_it(file: Path) -> None:
    assert analyze([str(file)], wall=lambda: WRITTEN) == []


@of_both
def test_it_compiles_without_a_remark(file: Path) -> None:
    objects = _manifests(file)
    for deployment in [Object(data) for data in objects if data["kind"] == "Deployment"]:
        assert deployment.template is not None
        pod = {
            "kind": "Pod",
            "metadata": {**deployment.template.metadata, "name": "orders-1", "namespace": "shop", "uid": "u",
                         "ownerReferences": [{"kind": "Deployment", "name": deployment.name, "controller": True}]},
            "spec": {**deployment.template.spec, "initContainers": [{"name": "bartizan-sidecar"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
        }
        cluster = Cluster.of([*objects, pod])
        compiled = compile_workload(cluster, "u", "example.org", LastGood(), dict.fromkeys(fetched_issuers(cluster), KEYS))
        assert compiled is not None
        assert compiled.problems == ()
        assert parse_snapshot(render_snapshot(compiled.snapshot)) == compiled.snapshot


# -- every field is shown


def _fields(kind: msgspec.inspect.Type) -> Iterator[tuple[str, str]]:
    """(struct, field) of all that a value of this type can hold."""
    for one in _parts(kind):
        if isinstance(one, msgspec.inspect.StructType):
            for field in one.fields:
                yield one.cls.__name__, field.encode_name
                yield from _fields(field.type)
        elif isinstance(one, msgspec.inspect.VarTupleType):
            yield from _fields(one.item_type)
        elif isinstance(one, msgspec.inspect.DictType):
            yield from _fields(one.value_type)


def _shown(kind: msgspec.inspect.Type, data: Any) -> Iterator[tuple[str, str]]:
    """(struct, field) of what `data` does hold."""
    for one in _parts(kind):
        if isinstance(one, msgspec.inspect.StructType) and isinstance(data, dict):
            for field in one.fields:
                if field.encode_name in data:
                    yield one.cls.__name__, field.encode_name
                    yield from _shown(field.type, data[field.encode_name])
        elif isinstance(one, msgspec.inspect.VarTupleType) and isinstance(data, list):
            for item in data:
                yield from _shown(one.item_type, item)
        elif isinstance(one, msgspec.inspect.DictType) and isinstance(data, dict):
            for item in data.values():
                yield from _shown(one.value_type, item)


def _parts(kind: msgspec.inspect.Type) -> tuple[msgspec.inspect.Type, ...]:
    kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    return kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)


@pytest.mark.parametrize(("annotation", "document"), [
    (documents.ROUTES, tuple[RouteRule, ...]), (documents.ENDPOINTS, EndpointsRule),
])
def test_every_field_of_an_annotation_is_shown_and_explained(annotation: str, document: Any) -> None:
    kind = msgspec.inspect.type_info(document)
    there, shown = set(_fields(kind)), {field for data in _annotations(annotation) for field in _shown(kind, data)}
    assert len(there) > 15
    assert there - shown == set()
    assert {field for _, field in there} - _words(README) == set()


def test_every_new_field_of_a_mesh_policy_is_shown() -> None:
    policies = [data["spec"] for file in FILES for data in _manifests(file) if data["kind"] == "MeshPolicy"]
    shown = {field for spec in policies for field in _shown(msgspec.inspect.type_info(MeshPolicySpec), spec)}
    assert {("MeshPolicySpec", "acceptHttp10"), *_fields(msgspec.inspect.type_info(TokenIssuer))} <= shown


def test_every_protocol_is_shown() -> None:
    assert {protocol for data in _annotations(documents.PORTS) for protocol in data.values()} == set(PROTOCOLS)


@named
def test_the_table_names_every_file(file: Path) -> None:
    assert f"`{file.name}`" in README or (file.name.startswith("endpoints-") and "`endpoints*.yaml`" in README)


# -- examples/egress/


def _explained_by_egress(kind: Any) -> set[tuple[str, str]]:
    """(struct, field) that its README leaves out."""
    return {(struct, field) for struct, field in _fields(msgspec.inspect.type_info(kind)) if field not in _words(EGRESS_README)}


def test_every_field_of_what_is_asked_for_is_shown_and_explained() -> None:
    shown = set()
    for asked in (entry for entries in _annotations(documents.EGRESS, EGRESS_FILES) for entry in entries):
        kind = HostRequest if "host" in asked else RangeRequest
        shown |= set(_shown(msgspec.inspect.type_info(kind), asked))
    assert shown == {field for kind in (HostRequest, RangeRequest) for field in _fields(msgspec.inspect.type_info(kind))}
    assert _explained_by_egress(HostRequest) | _explained_by_egress(RangeRequest) == set()


def test_every_field_of_an_egress_policy_is_shown_and_explained() -> None:
    kind = msgspec.inspect.type_info(EgressPolicySpec)
    policies = [data["spec"] for file in EGRESS_FILES for data in _manifests(file) if data["kind"] == "EgressPolicy"]
    there = set(_fields(kind))
    assert len(there) > 30
    assert there - {field for spec in policies for field in _shown(kind, spec)} == set()
    assert _explained_by_egress(EgressPolicySpec) == set()


def test_what_a_mesh_policy_says_of_leaving_is_shown_and_explained() -> None:
    kind = msgspec.inspect.type_info(MeshPolicySpec)
    shown = {field for data in _manifests(EGRESS / "mesh-policies.yaml") for field in _shown(kind, data["spec"])}
    of_leaving = {field for one in (Egress, DnsLimits) for field in _fields(msgspec.inspect.type_info(one))}
    assert of_leaving | {("MeshPolicySpec", field) for field in ("resolvers", "clusterDomain", "clusterRanges")} <= shown
    assert _explained_by_egress(Egress) | _explained_by_egress(DnsLimits) == set()


def test_every_choice_is_explained() -> None:
    choices = {choice for kind in (EgressProtocol, StartTls, Check, EgressMode) for choice in get_args(kind)}
    assert {choice for choice in choices if f"`{choice}`" not in EGRESS_README} == set()


def test_everything_that_is_asked_for_is_approved_whole() -> None:
    for file in EGRESS_FILES:
        cluster = Cluster.of(_manifests(file))
        for workload in cluster.workloads.values():
            assert workload.template is not None
            asked = read_egress(workload.annotations[documents.EGRESS]).entries
            hosts, ranges, problems = compile_egress(asked.values(), Asker.of(workload.template, "shop", cluster), cluster)
            assert (len(hosts) + len(ranges), problems) == (len(asked), ())


@pytest.mark.parametrize("file", EGRESS_FILES, ids=lambda file: file.name)
def test_the_readme_of_egress_names_every_file(file: Path) -> None:
    assert f"| `{file.name}` |" in EGRESS_README


def test_the_refusals_of_the_readme_are_those_of_admission() -> None:
    """The three ways not to be approved, in admission's own words."""
    policy = {"kind": "EgressPolicy", "apiVersion": documents.API_VERSION, "metadata": {"name": "partners"}, "spec": {
        "subjects": [{"namespace": "shop", "serviceAccounts": ["web"]}], "hosts": [{"host": "api.partner.example"}]}}
    policies = Cluster.of([policy]).egress_policies
    readme = " ".join(EGRESS_README.split())
    for account, asked in (
        ("web", HostRequest("api.partner.example", TlsRequest(port=8443))), ("api", HostRequest("api.partner.example")),
        ("web", HostRequest("api.other.example")),
    ):
        (problem,) = unapproved([asked], Asker("shop", {}, account), policies)
        assert problem.text in readme


# -- examples/identity/


CONFIGURATIONS: dict[str, tuple[Any, Any]] = {
    "issuer": (IssuerConfig, parse_issuer_config), "injector": (InjectorConfig, parse_injector_config),
    "sidecar": (Config, parse_sidecar_config),
}
STARTED = sorted(IDENTITY.glob("*.json"))


@pytest.mark.parametrize("file", STARTED, ids=lambda file: file.name)
def test_its_program_takes_the_configuration(file: Path) -> None:
    kind, parse = CONFIGURATIONS[file.stem.partition("-")[0]]
    assert isinstance(parse(file.read_bytes()), kind)


@pytest.mark.parametrize("program", ["issuer", "injector"])
def test_every_field_of_the_control_plane_is_shown_and_explained(program: str) -> None:
    kind = msgspec.inspect.type_info(CONFIGURATIONS[program][0])
    there = set(_fields(kind))
    shown = {field for file in STARTED if file.stem.startswith(program) for field in _shown(kind, msgspec.json.decode(file.read_bytes()))}
    assert len(there) > 10
    assert there - shown == set()
    assert {field for _, field in there} - _words(IDENTITY_README) == set()


def test_what_a_sidecar_is_told_of_identity_is_explained() -> None:
    there = {field for kind in (IssuedIdentity, FileIdentity, LedgerFiles) for _, field in _fields(msgspec.inspect.type_info(kind))}
    assert there | {"workloadApi"} <= _words(IDENTITY_README)


def test_admission_accepts_the_manifests_of_identity() -> None:
    assert sorted(file.name for file in IDENTITY.glob("*.yaml")) == ["mesh-policies.yaml", "workload-api.yaml"]
    for file in IDENTITY.glob("*.yaml"):
        assert analyze([str(file)], wall=lambda: WRITTEN) == []


def test_every_field_of_a_mesh_policy_is_explained() -> None:
    kind = msgspec.inspect.type_info(MeshPolicySpec)
    shown = {field for data in _manifests(IDENTITY / "mesh-policies.yaml") for field in _shown(kind, data["spec"])}
    assert {("MeshPolicySpec", field.encode_name) for field in kind.fields} <= shown  # type: ignore[attr-defined]
    assert {("Mtls", "ports"), ("PortMtls", "mode"), ("PortMtls", "until")} <= shown
    assert {field for _, field in _fields(kind)} - _words(IDENTITY_README) == set()


@pytest.mark.parametrize("kind", [Entry, Countersignature, Record, Issuance])
def test_every_field_of_what_is_written_down_is_explained(kind: Any) -> None:
    there = {field for _, field in _fields(msgspec.inspect.type_info(kind))}
    assert len(there) > 5
    assert there - _words(IDENTITY_README) == set()


def test_every_word_that_an_operator_meets_is_explained() -> None:
    meant = {
        *HELP, *(phase.value for phase in Phase), *KINDS, *audit.MTLS, *audit.CERTS, *audit.EGRESS,
        *(reason.code for reason in Reason if reason.code.startswith("BZ05")),
        files.ROOT, files.SVID, files.HTTPS, files.ROOTS, files.LOG, NEXT_ROOT, ROTATION,
        *(PREVIOUS.format(name) for name in (files.SVID, files.HTTPS)),
    }
    assert {word for word in meant if f"`{word}`" not in IDENTITY_README} == set()


@pytest.mark.parametrize("file", sorted(IDENTITY.glob("*.*")), ids=lambda file: file.name)
def test_the_readme_of_identity_names_every_file(file: Path) -> None:
    assert file.name == "README.md" or f"`{file.name}`" in IDENTITY_README


# -- examples/gateways/

GATEWAYS = FOLDER.parent / "gateways"


def test_the_two_sides_of_the_standalone_gateway_fit() -> None:
    gateway, sidecar = (parse_snapshot((GATEWAYS / f"{name}-snapshot.json").read_bytes()) for name in ("gateway", "sidecar"))
    (caller,) = gateway.gateway
    assert caller.identity == sidecar.workload.identity
    ((service,), (host,), (item,)) = sidecar.outbound.services, sidecar.outbound.hosts, sidecar.outbound.ranges
    assert host.gateway == item.gateway == GatewayRef(service.name, service.port)
    assert service.endpoints == (Endpoint(gateway.workload.addresses[0], ports.GATEWAY, gateway.workload.identity),)
    assert (caller.hosts[0].host, caller.hosts[0].methods, caller.hosts[0].paths) == (host.host, host.methods, host.paths)
    assert caller.ranges == (msgspec.structs.replace(item, gateway=None),)
    for name in ("gateway", "sidecar"):
        config = parse_sidecar_config((GATEWAYS / f"{name}.json").read_bytes())
        assert config.snapshot == SnapshotFile(f"{name}-snapshot.json")
        assert isinstance(config.identity, FileIdentity)


def test_the_ingress_gateway_alone_leads_to_a_service_of_its_own() -> None:
    snapshot = parse_snapshot((GATEWAYS / "ingress-snapshot.json").read_bytes())
    config = parse_sidecar_config((GATEWAYS / "ingress.json").read_bytes())
    assert config.snapshot == SnapshotFile("ingress-snapshot.json")
    assert list(config.listen.edge) == [listener.port for listener in snapshot.edge.listeners]
    assert Asked(Joined(snapshot.edge, {})).to("www.example.com", "/orders/1", port=80) == "orders"
    assert Asked(Joined(snapshot.edge, {})).to("www.example.com", "/", port=80) is None
    ((service,), (route,)) = snapshot.outbound.services, snapshot.edge.routes
    assert route.backends == (Backend(service.name, service.port),)


def test_the_manifests_make_a_gateway() -> None:
    file = GATEWAYS / "kubernetes.yaml"
    assert analyze([str(file)], wall=lambda: WRITTEN) == []
    objects = [dict(item) for item in _manifests(file)]
    (deployment,) = (Object(item) for item in objects if item["kind"] == "Deployment")
    assert deployment.template is not None

    def running(name: str, namespace: str, account: str, labels: Any, address: str, annotations: Any) -> dict[str, Any]:
        return {
            "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": labels, "annotations": annotations},
            "spec": {"serviceAccountName": account, "initContainers": [{"name": "bartizan-sidecar"}], "containers": []},
            "status": {"phase": "Running", "podIPs": [{"ip": address}]},
        }

    account = deployment.template.service_account
    gate = running("gate", deployment.namespace, account, deployment.template.labels, "10.0.0.40", {})
    asked = {documents.EGRESS: "- host: api.partner.example\n- {cidr: 198.51.100.0/24, ports: [5432]}\n"}
    web = running("web", "shop", "web", {}, "10.0.0.10", asked)
    compiled = compile_workload(Cluster.of([*objects, gate, web]), "gate", "example.org", LastGood())
    assert compiled is not None
    (caller,) = compiled.snapshot.gateway
    assert [host.host for host in caller.hosts] == ["api.partner.example"]
    assert [item.cidr for item in caller.ranges] == ["198.51.100.0/24"]


# -- examples/kubernetes/

KUBERNETES = FOLDER.parent / "kubernetes"
KUBERNETES_README = (KUBERNETES / "README.md").read_text()


def _leaves(values: dict[str, Any], base: str = "") -> Iterator[tuple[str, object]]:
    """The values as the table has them: one row for each, and for the resources of each part."""
    whole = ("gateway.resources", "gateway.service.annotations", "gateway.service.nodePorts")
    for name, value in values.items():
        if isinstance(value, dict) and base != "resources." and f"{base}{name}" not in whole:
            yield from _leaves(value, f"{base}{name}.")
        else:
            yield f"{base}{name}", value


def test_the_table_of_values_is_the_plans() -> None:
    table = KUBERNETES_README.partition("| value | what it says | default |\n|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [re.fullmatch(r"\| `([\w.]+)` \| .+ \| `(.+)` \|", line) for line in table.splitlines()]
    assert {row[1]: json.loads(row[2]) for row in rows if row is not None} == dict(_leaves(values_of(Plan())))
    assert None not in rows


def test_what_the_readme_says_on_the_command_line_is_understood() -> None:
    text = KUBERNETES_README.replace("=...", "=x").replace("REGISTRY", "registry")
    said = [quoted or plain for quoted, plain in re.findall(r"--set (?:'([^']+)'|([a-zA-Z.]+=[^\s`)]+))", text) if plain != "KEY=VALUE"]
    assert len(said) > 5
    for one in said:
        read_plan(sets=[one])


def test_the_values_and_the_namespace_of_the_example_fit_together() -> None:
    plan = read_plan([str(KUBERNETES / "values.yaml")])
    assert (plan.replicas, plan.persistence.size) == (3, "20Gi")
    assert analyze([str(KUBERNETES / "shop.yaml"), str(KUBERNETES / "mesh.yaml")], wall=lambda: WRITTEN) == []


@pytest.mark.parametrize("file", sorted(KUBERNETES.glob("*.*")), ids=lambda file: file.name)
def test_the_readme_of_kubernetes_names_every_file(file: Path) -> None:
    assert file.name == "README.md" or f"`{file.name}`" in KUBERNETES_README
