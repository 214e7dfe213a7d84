"""A real API server with its etcd, on loopback: RBAC, a service account issuer, no node. Pods are objects that the tests place."""

import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs.kubernetes import Api, ApiError, ApiServer
from tests.helpers import pki
from tests.helpers.sockets import free_ports

from .programs import program

READY_S = 60.0
ISSUER = "https://kubernetes.default.svc.cluster.local"
SYSTEM = "bartizan-system"
Object = dict[str, Any]


class Cluster:
    """
    Args:
        admin: an Api of somebody who may do everything.
    """

    def __init__(self, folder: Path, port: int, admin_token: str, ca: pki.Holder) -> None:
        self.server = f"https://127.0.0.1:{port}"
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(ca.chain_pem)
        self.admin = self.api(admin_token)

    def server_for(self, token: str) -> ApiServer:
        """How somebody with that token finds it."""
        file = self.folder / f"token-{secrets.token_hex(4)}"
        file.write_text(token)
        return ApiServer(self.server, str(self.ca_file), str(file))

    @property
    def kubeconfig(self) -> Path:
        """Of the admin, for kubectl."""
        path = self.folder / "kubeconfig"
        token = (self.folder / "tokens.csv").read_text().partition(",")[0]
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config",
            "current-context": "it", "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": self.server, "certificate-authority": str(self.ca_file)}}],
            "users": [{"name": "it", "user": {"token": token}}],
        }))
        return path

    def api(self, token: str) -> Api:
        return Api(self.server_for(token))

    async def apply(self, *objects: Object) -> None:
        """Create each; the paths of their kinds stand in KINDS."""
        for made in objects:
            prefix, plural = KINDS[made["kind"]]
            namespace = made["metadata"].get("namespace")
            where = f"namespaces/{namespace}/{plural}" if namespace else plural
            group = "v1" if prefix == "/api/v1" else prefix.removeprefix("/apis/")
            await self.admin.create(f"{prefix}/{where}", {"apiVersion": group, **made}, dict)

    async def account(self, namespace: str, name: str) -> None:
        await self.apply({"kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}})

    async def pod(self, namespace: str, name: str, account: str, address: str = "10.244.0.7", phase: str = "Running") -> str:
        """A pod on a node that is not there, in the state that its kubelet would have reported. Returns its uid."""
        await self.apply({
            "kind": "Pod", "metadata": {"namespace": namespace, "name": name},
            "spec": {"serviceAccountName": account, "nodeName": "one", "containers": [{"name": "app", "image": "app"}]},
        })
        await self.report(namespace, name, phase, address)
        return str((await self.admin.get(f"/api/v1/namespaces/{namespace}/pods/{name}", dict))["metadata"]["uid"])

    async def report(self, namespace: str, name: str, phase: str, *addresses: str) -> None:
        """As its kubelet would; no address: it has none yet."""
        known = [address for address in addresses if address]
        status: Object = {"phase": phase, **({"podIP": known[0], "podIPs": [{"ip": ip} for ip in known]} if known else {})}
        await self.admin.patch(f"/api/v1/namespaces/{namespace}/pods/{name}/status", {"status": status}, dict)

    async def delete(self, path: str, grace_s: int) -> None:
        await self.admin._call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace_s}, dict)

    async def token(self, namespace: str, account: str, pod: tuple[str, str] | None = None, audience: str = "bartizan") -> str:
        """By the TokenRequest API, as the kubelet has it made for a projected volume.

        Args:
            pod: (name, uid) to bind it to.
        """
        spec: Object = {"audiences": [audience] if audience else [], "expirationSeconds": 3600}
        if pod is not None:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod[0], "uid": pod[1]}
        made = await self.admin.create(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}, dict)
        return str(made["status"]["token"])

    async def wait_until_ready(self) -> None:
        with trio.fail_after(READY_S):
            while True:
                try:
                    await self.admin.get("/api/v1/namespaces/kube-system", dict)
                    await self.admin.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:auth-delegator", dict)
                    return
                except ApiError:    # not there yet, or its first objects are not
                    await trio.sleep(0.1)


KINDS: Mapping[str, tuple[str, str]] = {
    "Namespace": ("/api/v1", "namespaces"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Pod": ("/api/v1", "pods"),
    "Secret": ("/api/v1", "secrets"),
    "Service": ("/api/v1", "services"),
    **{kind: ("/apis/rbac.authorization.k8s.io/v1", f"{kind.lower()}s")
       for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")},
}


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Both programs as long as the context lasts; the folder holds what they say."""
    with ExitStack() as stack:
        etcd, peer, port = free_ports(3)
        start(stack, folder / "etcd.log", "etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", local(etcd),
              "--advertise-client-urls", local(etcd), "--listen-peer-urls", local(peer), "--initial-advertise-peer-urls", local(peer),
              "--initial-cluster", f"default={local(peer)}", "--unsafe-no-fsync")
        ca = pki.authority("kubernetes")
        serving = pki.issue(ca, pki.host("127.0.0.1"))
        key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        admin = secrets.token_hex(16)
        texts = {"sa.key": key, "serving.pem": serving.chain_pem, "serving.key": serving.key_pem,
                 "tokens.csv": f'{admin},admin,1,"system:masters"\n'}
        for name, text in texts.items():
            (folder / name).write_text(text)
        start(
            stack, folder / "kube-apiserver.log", str(program("kube-apiserver")), "--etcd-servers", local(etcd), "--bind-address=127.0.0.1",
            f"--secure-port={port}", f"--tls-cert-file={folder}/serving.pem", f"--tls-private-key-file={folder}/serving.key",
            f"--service-account-issuer={ISSUER}", f"--service-account-key-file={folder}/sa.key",
            f"--service-account-signing-key-file={folder}/sa.key", f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=RBAC", "--anonymous-auth=false", "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none", "--allow-privileged=true", "--enable-priority-and-fairness=false",
        )
        cluster = Cluster(folder, port, admin, ca)
        trio.run(cluster.wait_until_ready)
        yield cluster


def start(stack: ExitStack, log: Path, *command: str) -> None:
    out = stack.enter_context(log.open("wb"))
    process = stack.enter_context(subprocess.Popen(command, stdout=out, stderr=out))
    stack.callback(process.kill)


def local(port: int) -> str:
    return f"http://127.0.0.1:{port}"
