"""The issuer as a signer: requests that pods create with their own tokens, through a real API server's approval and status."""

import base64
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs import files
from certs.authenticate import Attestation
from certs.ca import HTTPS_DOMAINS
from certs.csr_signer import REQUESTS, SIGNER, CsrSigner
from certs.issuer import Forbidden, Issued, Issuer
from certs.kubernetes import Api
from certs.log import Log, read
from certs.token_review import TokenReviewAttestor
from certs.trust import Follower
from sidecar.net.clock import wall_clock
from sidecar.net.verify import chain_error, read_svid
from tests.certs.support import csr_of, new_key

from .cluster import ISSUER, Cluster, Object

MAKERS = "bartizan-csr-makers"


@pytest.fixture(scope="module", autouse=True)
def _allowed(cluster: Cluster) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": MAKERS}
    subjects = [{"kind": "ServiceAccount", "namespace": "shop", "name": name} for name in ("web", "orders")]
    trio.run(cluster.apply, {
        "kind": "ClusterRole", "metadata": {"name": MAKERS},
        "rules": [{"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create", "get"]}],
    }, {"kind": "ClusterRoleBinding", "metadata": {"name": MAKERS}, "roleRef": role, "subjects": subjects})


class World:
    def __init__(self, cluster: Cluster, api: Api, folder: Path) -> None:
        self.cluster = cluster
        self.authorities = files.init(folder, "example.org", HTTPS_DOMAINS, wall_clock())
        self.log = folder / files.LOG
        self._open = Log(self.log)
        attestor = TokenReviewAttestor(api, "bartizan")
        issuer = Issuer(Follower(folder, wall_clock).standing, attestor, self._open, {}, 3600, wall_clock)
        self.signer = CsrSigner(api, issuer.issue_svid_to, wall_clock)

    async def answered(self, name: str) -> Object:
        await self.signer.look()
        return await status_of(self.cluster, name)


async def create(cluster: Cluster, token: str, name: str, csr: bytes | None = None, **changed: object) -> None:
    """As the pod whose token it is."""
    spec: Object = {
        "request": base64.b64encode(csr or csr_of(new_key())).decode(), "signerName": SIGNER,
        "usages": ["digital signature", "client auth", "server auth"], **changed,
    }
    await cluster.api(token).create(REQUESTS, {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}, "spec": spec}, dict)


async def status_of(cluster: Cluster, name: str) -> Object:
    return dict((await cluster.admin.get(f"{REQUESTS}/{name}", dict))["status"])


@pytest.fixture
def world(cluster: Cluster, issuer_api: Api, tmp_path: Path) -> World:
    return World(cluster, issuer_api, tmp_path / "ca")


async def pod_token(cluster: Cluster, name: str, account: str = "web") -> tuple[str, str]:
    uid = await cluster.pod("shop", name, account)
    return uid, await cluster.token("shop", account, (name, uid), audience=ISSUER)


async def test_a_pods_request_is_approved_and_signed(cluster: Cluster, world: World) -> None:
    uid, token = await pod_token(cluster, "asks")
    await create(cluster, token, "asks", csr_of(new_key(), x509.SubjectAlternativeName([x509.DNSName("bank.svc")])))
    status = await world.answered("asks")
    assert [(condition["type"], condition["reason"]) for condition in status["conditions"]] == [("Approved", "PodVerified")]
    chain = x509.load_pem_x509_certificates(base64.b64decode(status["certificate"]))
    assert chain_error(chain, world.authorities.roots, wall_clock()) == ""
    peer = read_svid(chain[0], "example.org")
    assert (peer.identity, peer.pod_uid, peer.holder) == ("spiffe://example.org/ns/shop/sa/web", uid, "application")
    await world.signer.look()
    entry, = read(world.log)        # once, however often one looks
    assert (entry.requester, entry.pod_uid, entry.holder) == ("csr/asks", uid, "application")


@pytest.mark.parametrize(("name", "why"), [
    ("ended", "phase Succeeded"), ("gone", "its pod is gone"), ("unbound", "bound to no pod"), ("cert-sign", "'cert sign'"),
    ("weak", "not ECDSA P-256"),
])
async def test_denied(cluster: Cluster, world: World, name: str, why: str) -> None:
    _, token = await pod_token(cluster, name)
    if name == "unbound":
        token = await cluster.token("shop", "web", audience=ISSUER)
    changed: Object = {"usages": ["cert sign"]} if name == "cert-sign" else {}
    await create(cluster, token, name, csr_of(ec.generate_private_key(ec.SECP384R1())) if name == "weak" else None, **changed)
    if name == "ended":
        await cluster.report("shop", name, "Succeeded", "10.244.0.7")
    if name == "gone":
        await cluster.delete(f"/api/v1/namespaces/shop/pods/{name}", 0)
    status = await world.answered(name)
    condition, = status["conditions"]
    assert (condition["type"], "certificate" in status) == ("Denied", False)
    assert why in condition["message"]
    assert list(read(world.log)) == []


async def test_the_key_of_another_pod(cluster: Cluster, world: World) -> None:
    csr = csr_of(new_key())
    for name, account in (("first", "web"), ("second", "orders")):
        await create(cluster, (await pod_token(cluster, name, account))[1], name, csr)
        status = await world.answered(name)
    condition, = status["conditions"]
    assert condition["type"] == "Denied"
    assert "another workload" in condition["message"]


async def test_what_somebody_approved_fails_where_we_would_have_denied(cluster: Cluster, world: World) -> None:
    await create(cluster, await cluster.token("shop", "web", audience=ISSUER), "approved")
    condition = {"type": "Approved", "status": "True", "reason": "ByHand", "message": "by hand"}
    await cluster.admin.patch(f"{REQUESTS}/approved/approval", {"status": {"conditions": [condition]}}, dict)
    status = await world.answered("approved")
    assert [condition["type"] for condition in status["conditions"]] == ["Approved", "Failed"]
    assert "certificate" not in status


async def test_whoever_is_revoked_is_denied(cluster: Cluster, issuer_api: Api) -> None:
    def refuse(pod: Attestation, csr: str, requester: str, holder: str) -> Issued:
        raise Forbidden("the identity was revoked")

    _, token = await pod_token(cluster, "revoked")
    await create(cluster, token, "revoked")
    await CsrSigner(issuer_api, refuse, wall_clock).look()
    condition, = (await status_of(cluster, "revoked"))["conditions"]
    assert (condition["type"], condition["message"]) == ("Denied", "the identity was revoked")
