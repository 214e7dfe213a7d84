"""Who of the control plane may do what: issuer and injector apart, verb by verb, by name wherever a name can be said.

What RBAC cannot say narrower: a POST has no name yet, so the injector may create any Lease in bartizan-system; and `patch` knows no
fields, so the leader that may write `caBundle` may write the rest of its own webhook configurations. Of what routes and Ingresses say
nothing can be changed, only the status that tells what became of it. A Secret can be read in the namespaces that the plan names, and
nowhere else.
"""

from collections.abc import Sequence

from injector.cluster.kinds import KINDS
from injector.cluster.kinds import rules as watched
from injector.opt_outs import opt_outs_of
from injector.settings import AUTHORITY, INJECTOR, ISSUER, ROOTS, SYSTEM

from .parts import Manifest, metadata
from .plan import Plan

_GROUP = "rbac.authorization.k8s.io"
SECRETS_ROLE = f"{INJECTOR}-secrets"    # of all revisions


def rbac(plan: Plan) -> list[Manifest]:
    return [*issuer_roles(plan), *injector_roles(plan)]


def issuer_roles(plan: Plan) -> list[Manifest]:
    cluster = [
        _rule("authentication.k8s.io", ["tokenreviews"], ["create"]),
        _rule("", ["pods"], ["get"]),
    ]
    if plan.csr_signer:
        cluster += [
            _rule("certificates.k8s.io", ["certificatesigningrequests"], ["list"]),
            _rule("certificates.k8s.io", ["certificatesigningrequests/approval", "certificatesigningrequests/status"], ["patch"]),
            _rule("certificates.k8s.io", ["signers"], ["approve", "sign"], ["bartizan.dev/workload"]),
        ]
    own = [
        # Both are made by server-side apply, of which the API server knows the name.
        _rule("", ["secrets"], ["create", "get", "patch"], [AUTHORITY]),
        _rule("", ["configmaps"], ["create", "get", "patch"], [ROOTS]),
    ]
    return [
        _account(ISSUER, "issuer", None),
        *_bound("Cluster", ISSUER, "issuer", None, cluster),
        *_bound("", ISSUER, "issuer", None, own),
    ]


def injector_roles(plan: Plan) -> list[Manifest]:
    name, revision = plan.injector, plan.revision
    configurations = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
    cluster = [
        *watched(),
        _rule("", ["events"], ["create", "patch"]),
        *(_rule(kind.api_group, [f"{kind.plural}/status"], ["patch"]) for kind in KINDS if kind.has_age),
        _rule("admissionregistration.k8s.io", configurations, ["get", "patch"], [name]),
    ]
    own = [
        _rule("coordination.k8s.io", ["leases"], ["get", "patch"], [name]),
        _rule("coordination.k8s.io", ["leases"], ["create"]),
        _rule("", ["configmaps"], ["create", "patch"], [opt_outs_of(revision)]),      # applied: also creation is by name
    ]
    secrets = {
        "apiVersion": f"{_GROUP}/v1", "kind": "ClusterRole", "metadata": metadata(SECRETS_ROLE, "injector", namespace=""),
        "rules": [_rule("", ["secrets"], ["list", "watch"])],
    }
    return [
        _account(name, "injector", revision),
        *_bound("Cluster", name, "injector", revision, cluster),
        *_bound("", name, "injector", revision, own),
        secrets,
        *(_binding("", namespace, f"{name}-secrets", "injector", revision, ("ClusterRole", SECRETS_ROLE), name)
          for namespace in plan.secret_namespaces),
    ]


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()) -> Manifest:
    return {
        "apiGroups": [group], "resources": list(resources), "verbs": list(verbs), **({"resourceNames": list(names)} if names else {}),
    }


def _account(name: str, component: str, revision: str | None) -> Manifest:
    return {
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name, component, revision=revision),
        "automountServiceAccountToken": False,
    }


def _bound(scope: str, name: str, component: str, revision: str | None, rules: list[Manifest]) -> list[Manifest]:
    """A role and its binding. Args: scope: "Cluster" or ""."""
    namespace = "" if scope else SYSTEM
    role = {
        "apiVersion": f"{_GROUP}/v1", "kind": f"{scope}Role",
        "metadata": metadata(name, component, namespace=namespace, revision=revision), "rules": rules,
    }
    return [role, _binding(scope, namespace, name, component, revision, (f"{scope}Role", name), name)]


def _binding(scope: str, namespace: str, name: str, component: str, revision: str | None, role: tuple[str, str], account: str) -> Manifest:
    return {
        "apiVersion": f"{_GROUP}/v1", "kind": f"{scope}RoleBinding",
        "metadata": metadata(name, component, namespace=namespace, revision=revision),
        "roleRef": {"apiGroup": _GROUP, "kind": role[0], "name": role[1]},
        "subjects": [{"kind": "ServiceAccount", "namespace": SYSTEM, "name": account}],
    }
