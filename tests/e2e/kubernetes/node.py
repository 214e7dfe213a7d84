"""A real Kubernetes of one node: etcd, API server, controllers, scheduler, kubelet, containerd, from a wiped state, in a room.

    python -m tests.e2e.kubernetes.node     one to look around in, until the input ends; prints its kubeconfig
"""

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.helpers import pki
from tests.helpers.pods import wait_until

from . import node_files as files
from .images import Images, built
from .kubectl import Kubectl
from .programs import program
from .room import LINK, Place, Room, room

CTR = ("ctr", "--address", "/run/containerd.sock", "--namespace", "k8s.io")
PLACES = "places.json"      # beside the kubeconfig of a node that was made here


@dataclass(frozen=True)
class Node:
    """
    Args:
        kubectl: as somebody who may do everything.
        inside: among the node's own processes.
        outside: the network beyond the node; whatever is started there has OUTSIDE's addresses.

    Both are None for a cluster that was not made here.
    """

    kubectl: Kubectl
    inside: Place | None = None
    outside: Place | None = None

    def kill(self, container: str) -> None:
        """One of containerd's, by its ID, as if it had crashed."""
        assert self.inside is not None
        self.inside.run(*CTR, "tasks", "kill", "--signal", "SIGKILL", container)


def images() -> Images:
    """As the node has them: built here, or wherever the cluster that KUBECONFIG names gets them from."""
    if "KUBECONFIG" in os.environ:
        return Images(os.environ.get("BARTIZAN_IMAGE", Images.bartizan), os.environ.get("APP_IMAGE", Images.app))
    return built()


@contextmanager
def found_or_made(logs: Path, images: Images) -> Iterator[Node]:
    """The cluster that KUBECONFIG names, or a new one."""
    if "KUBECONFIG" not in os.environ:
        with running(logs, images) as made:
            yield made
    else:
        given = Path(os.environ["KUBECONFIG"])
        places = given.parent / PLACES
        known = json.loads(places.read_text()) if places.exists() else []
        yield Node(Kubectl(given), *(Place(tuple(enter)) for enter in known))


@contextmanager
def running(logs: Path, images: Images) -> Iterator[Node]:
    """
    Args:
        logs: a folder for what the programs say.
    """
    with room() as place, ExitStack() as stack:
        outside = _connect(place)
        _write_files(place)
        folder = place.folder

        def start(name: str, *arguments: str) -> None:
            place.start(stack, logs / f"{name}.log", program(name) if name.startswith("kube") else name, *arguments)

        start("etcd", "--data-dir", f"{folder}/etcd", "--unsafe-no-fsync")
        start("kube-apiserver", *files.api_server(folder))
        start("containerd", "--config", f"{folder}/containerd.toml")
        wait_until(lambda: place.is_done(*CTR, "version"), lambda: (logs / "containerd.log").read_text())
        for archive in images.archives:
            place.run(*CTR, "images", "import", archive)
        kubectl = Kubectl(folder / "admin.kubeconfig")
        wait_until(lambda: kubectl.is_done("get", "namespace", "kube-system"), lambda: (logs / "kube-apiserver.log").read_text())
        start("kube-controller-manager", *files.controller_manager(folder))
        start("kube-scheduler", f"--kubeconfig={folder}/scheduler.kubeconfig", "--leader-elect=false", "--secure-port=0")
        start("kubelet", f"--config={folder}/kubelet.json", f"--kubeconfig={folder}/kubelet.kubeconfig", f"--root-dir={folder}/kubelet",
              f"--node-ip={files.both(files.NODE)}", f"--hostname-override={files.NAME}")
        start("kube-proxy", f"--config={folder}/proxy.json")
        kubectl.apply(*files.name_server(images.coredns))
        kubectl.wait("node", files.NAME, "Ready")
        kubectl.rolled_out("kube-system", "deployment/coredns")
        (folder / PLACES).write_text(json.dumps([place.enter, outside.enter]))
        yield Node(kubectl, place, outside)


def _connect(place: Room) -> Place:
    """Wires to this machine, for the API server alone, and to the world outside, where everything else goes."""
    outside = place.beside("outside")

    def ip(where: Place, *commands: str) -> None:
        for command in commands:
            where.run("ip", *command.split())

    run(["ip", "link", "add", LINK, "type", "veth", "peer", "name", "host", "netns", str(place.pid)], check=True)
    run(["ip", "address", "add", f"{files.HOST_LINK}/30", "dev", LINK], check=True)
    run(["ip", "link", "set", LINK, "up"], check=True)
    ip(place, "link set lo up", f"address add {files.NODE[4]}/32 dev lo", f"address add {files.NODE[6]}/128 dev lo",
       f"address add {files.ROOM_LINK}/30 dev host", "link set host up",
       "link add world type veth peer name eth0 netns outside", f"address add {files.ROUTER[4]}/24 dev world",
       f"address add {files.ROUTER[6]}/64 dev world nodad", "link set world up")
    ip(outside, f"address add {files.OUTSIDE[4]}/24 dev eth0", f"address add {files.OUTSIDE[6]}/64 dev eth0 nodad", "link set eth0 up",
       *(f"address add {address}/32 dev eth0" for address in files.ELSEWHERE),
       f"route add default via {files.ROUTER[4]}", f"route add default via {files.ROUTER[6]}")
    ip(place, f"route add default via {files.OUTSIDE[4]}", f"route add default via {files.OUTSIDE[6]}")
    for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        place.run("tee", f"/proc/sys/net/{setting}", stdin="1")
    return outside


def _write_files(place: Room) -> None:
    folder = place.folder
    ca = pki.authority("kubernetes")
    names = (files.NODE[4], files.NODE[6], files.API[4], files.API[6], files.ROOM_LINK, "127.0.0.1",
             "kubernetes.default.svc", "kubernetes.default")
    serving = pki.issue(ca, *map(pki.host, names), ends=24 * pki.HOUR)
    to_kubelet = pki.issue(ca, subject="kube-apiserver", ends=24 * pki.HOUR)
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    tokens = {part: secrets.token_hex(16) for part in files.PARTS}
    rows = "".join(f'{tokens[part]},{user},{part},"{group}"\n' for part, (user, group) in files.PARTS.items())
    texts = {
        "ca.pem": ca.chain_pem, "serving.pem": serving.chain_pem, "serving.key": serving.key_pem, "to-kubelet.pem": to_kubelet.chain_pem,
        "to-kubelet.key": to_kubelet.key_pem, "sa.key": key, "tokens.csv": rows, "resolv.conf": "",
        "containerd.toml": files.containerd(folder), "cni/pods.conflist": json.dumps(files.network()),
        "kubelet.json": json.dumps(files.kubelet(folder)), "proxy.json": json.dumps(files.kube_proxy(folder)),
        **{f"{part}.kubeconfig": json.dumps(files.kubeconfig(f"https://{files.ROOM_LINK}:{files.API_PORT}", folder / "ca.pem", token))
           for part, token in tokens.items()},
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as logs, running(Path(logs), built()) as made:
        print(f"export KUBECONFIG={made.kubectl.kubeconfig}    # logs: {logs}", flush=True)
        sys.stdin.read()
