"""What the programs of a node are told: their configuration files and arguments, as data.

    node      10.90.0.1, fd00:90::1              the node's own addresses
    pods      10.244.0.0/24, fd00:244::/64       each at the end of a wire of its own: between two of them the node routes
    Services  10.96.0.0/16, fd00:96::/112        .10 is the name server
    outside   203.0.113.0/24, 2001:db8:113::/64  whatever is none of the above, ELSEWHERE with it
"""

from pathlib import Path
from typing import Any

from .outside import PARTNER, STRANGER

NODE = {4: "10.90.0.1", 6: "fd00:90::1"}
PODS = {4: "10.244.0.0/24", 6: "fd00:244::/64"}
SERVICES = {4: "10.96.0.0/16", 6: "fd00:96::/112"}
API, DNS = {4: "10.96.0.1", 6: "fd00:96::1"}, "10.96.0.10"
HOST_LINK, ROOM_LINK = "198.18.0.1", "198.18.0.2"
ROUTER = {4: "203.0.113.1", 6: "2001:db8:113::1"}
OUTSIDE = {4: "203.0.113.10", 6: "2001:db8:113::10"}
ELSEWHERE = ("192.168.1.10", "34.102.136.180")      # further addresses of the world outside
DOMAIN = "cluster.local"
ISSUER = f"https://kubernetes.default.svc.{DOMAIN}"
NAME = "one"
PAUSE = "localhost/pause:e2e"
API_PORT = 6443

# Who the node's own parts are: a token each.
PARTS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NAME}", "system:nodes"),
}


def both(addresses: dict[int, str]) -> str:
    return f"{addresses[4]},{addresses[6]}"


def kubeconfig(server: str, ca_file: Path, token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "node",
        "clusters": [{"name": "node", "cluster": {"server": server, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "node", "user": {"token": token}}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": "node"}}],
    }


def containerd(folder: Path) -> str:
    """TOML. `restrict_oom_score_adj`: without CAP_SYS_RESOURCE, which many machines' root lacks, no pod would start."""
    return f"""
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""


def network() -> dict[str, Any]:
    """CNI. Not a bridge: between its ports, what the node's rules made of a Service's address would only be undone with a kernel
    module."""
    ranges = [[{"subnet": subnet}] for subnet in PODS.values()]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "ptp", "ipMasq": False, "ipam": {"type": "host-local", "ranges": ranges, "routes": routes}},
    ]}


def kubelet(folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}, "x509": {"clientCAFile": f"{folder}/ca.pem"}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDomain": DOMAIN, "clusterDNS": [DNS], "resolvConf": f"{folder}/resolv.conf",
        "containerRuntimeEndpoint": "unix:///run/containerd.sock",
        "cgroupDriver": "cgroupfs", "cgroupRoot": "/bartizan-e2e", "failCgroupV1": False, "enforceNodeAllocatable": [],
        "failSwapOn": False, "localStorageCapacityIsolation": False, "evictionHard": {"memory.available": "50Mi"},
        # The images are here once and nowhere else.
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": f"{folder}/logs", "volumePluginDir": f"{folder}/plugins",
    }


def kube_proxy(folder: Path) -> dict[str, Any]:
    """The limits of connection tracking belong to the whole machine: they stay as they are."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "iptables", "hostnameOverride": NAME, "clusterCIDR": both(PODS),
        "clientConnection": {"kubeconfig": f"{folder}/proxy.kubeconfig"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms"},
    }


def api_server(folder: Path) -> list[str]:
    return [
        "--etcd-servers=http://127.0.0.1:2379", f"--secure-port={API_PORT}", f"--advertise-address={NODE[4]}",
        f"--tls-cert-file={folder}/serving.pem", f"--tls-private-key-file={folder}/serving.key",
        f"--service-account-issuer={ISSUER}", f"--service-account-key-file={folder}/sa.key",
        f"--service-account-signing-key-file={folder}/sa.key", f"--token-auth-file={folder}/tokens.csv",
        f"--kubelet-client-certificate={folder}/to-kubelet.pem", f"--kubelet-client-key={folder}/to-kubelet.key",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged", "--anonymous-auth=false",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-cluster-ip-range={both(SERVICES)}",
    ]


def controller_manager(folder: Path) -> list[str]:
    return [
        f"--kubeconfig={folder}/controller-manager.kubeconfig", "--leader-elect=false", "--use-service-account-credentials",
        f"--service-account-private-key-file={folder}/sa.key", f"--root-ca-file={folder}/ca.pem",
        f"--cluster-cidr={both(PODS)}", f"--service-cluster-ip-range={both(SERVICES)}", "--secure-port=0",
    ]


COREFILE = f"""
.:53 {{
    errors
    ready
    hosts /etc/coredns/hosts {{
        fallthrough
    }}
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        ttl 5
    }}
}}
"""


def name_server(image: str) -> list[dict[str, Any]]:
    """CoreDNS under the name that every cluster has it by; of the world outside it knows two hosts."""
    meta = {"namespace": "kube-system", "name": "coredns"}
    labels = {"k8s-app": "kube-dns"}
    role = {"name": "system:coredns"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": role, "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": role,
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **role},
         "subjects": [{"kind": "ServiceAccount", **meta}]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {
            "Corefile": COREFILE, "hosts": "".join(f"{address} {PARTNER} {STRANGER}\n" for address in OUTSIDE.values())}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {**meta, "name": "kube-dns", "labels": labels}, "spec": {
            "clusterIP": DNS, "selector": labels,
            "ports": [{"name": f"dns-{protocol.lower()}", "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "serviceAccountName": meta["name"], "dnsPolicy": "Default",
                "containers": [{
                    "name": "coredns", "image": image, "imagePullPolicy": "Never", "args": ["-conf", "/etc/coredns/Corefile"],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "files", "mountPath": "/etc/coredns"}]}],
                "volumes": [{"name": "files", "configMap": {"name": meta["name"]}}],
            }}}},
    ]
