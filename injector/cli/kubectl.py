"""The cluster for the operator's verbs, through `kubectl`: it knows kubeconfig, contexts, cloud log-ins, proxies and impersonation.

Each call is one process. What fails names cause and cure: which right is missing, which server does not answer.

Trust: whoever runs the verb is believed, and so is the kubectl on their PATH; what the cluster says is escaped before it is shown.
Attacked by tests/injector/cli/test_kubectl.py.
"""

import argparse
import json
import re
import subprocess  # noqa: TID251 -- kubectl is a program
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.model.errors import MeshError

from .terminal import printable

PROGRAM = "kubectl"
WITHIN_S = 60.0
MOST_WORDS = 1000       # of what kubectl complains
_KLOG = re.compile(r"^[EWIF]\d{4} \d\d:\d\d:\d\d")     # lines of its libraries, for their developers
_FORBIDDEN = re.compile(
    r'User "(?P<user>.*?)" cannot (?P<verb>\S+) resource "(?P<resource>.*?)" in API group "(?P<group>.*?)" '
    r'(?:at the cluster scope|in the namespace "(?P<namespace>.*?)")')
_NOT_FOUND = ("Error from server (NotFound)", "error: the server doesn't have a resource type")
_NO_CLUSTER = ("The connection to the server", "Unable to connect to the server", "connection refused", "no configuration has been")

Json = dict[str, Any]


class KubectlError(MeshError):
    """kubectl, or the API server by its mouth, did not do it."""


class KubectlMissing(KubectlError):
    pass


class NoCluster(KubectlError):
    """No API server answers."""


class NotFound(KubectlError):
    """There is no such object, or nobody has told the API server of its kind."""


class Forbidden(KubectlError):
    """
    Args:
        right: what is missing, as one rule of a Role; empty if the API server did not say.
    """

    def __init__(self, text: str, right: Mapping[str, list[str]]) -> None:
        super().__init__(text)
        self.right = right


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of every verb that speaks to a cluster."""
    parser.add_argument("--context", default="", metavar="NAME", help="of the kubeconfig; default: its current one")
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="default: as kubectl's")


def add_scope(parser: argparse.ArgumentParser, *, everywhere: bool = True, selector: bool = True) -> None:
    """Which objects are meant."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", default="", metavar="NAME", help="default: that of the context")
    if everywhere:
        where.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    if selector:
        parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="only those with these labels: app=web,tier!=test")


@dataclass(frozen=True, slots=True)
class Kubectl:
    context: str = ""
    kubeconfig: str = ""

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Kubectl":
        return cls(args.context, args.kubeconfig)

    def run(self, *words: str, stdin: bytes = b"", within_s: float = WITHIN_S) -> bytes:
        """What it prints. Raises KubectlError."""
        flags = [f"--{name}={value}" for name, value in (("context", self.context), ("kubeconfig", self.kubeconfig)) if value]
        try:
            done = subprocess.run([PROGRAM, *flags, *words], input=stdin, capture_output=True, timeout=within_s, check=False)
        except FileNotFoundError as exc:
            raise KubectlMissing(f"there is no {PROGRAM} on the PATH, by which the cluster is asked; install it: "
                                 "https://kubernetes.io/docs/tasks/tools/") from exc
        except OSError as exc:
            raise KubectlMissing(f"{PROGRAM} cannot be started: {exc.strerror}") from exc
        except subprocess.TimeoutExpired as exc:
            why = f"{PROGRAM} {words[0]} did not end within {within_s:g} s; does the cluster answer `{PROGRAM} version`?"
            raise NoCluster(why) from exc
        if done.returncode:
            raise complaint(done.stderr.decode("utf-8", "replace"))
        return done.stdout

    def json(self, *words: str, stdin: bytes = b"") -> Json:
        """Its answer, which `-o json`, or a raw path, makes an object."""
        found = self.run(*words, stdin=stdin)
        try:
            value = json.loads(found)
        except ValueError as exc:
            begins = printable(found[:200].decode("utf-8", "replace"))
            raise KubectlError(f"{PROGRAM} {words[0]} answers what is no JSON: {begins}") from exc
        if not isinstance(value, dict):
            raise KubectlError(f"{PROGRAM} {words[0]} answers what is no object")
        return value

    def namespace(self, args: argparse.Namespace) -> str:
        """The one that is meant; empty: all of them."""
        if getattr(args, "all_namespaces", False):
            return ""
        return args.namespace or self.run("config", "view", "--minify", "-o", "jsonpath={..namespace}").decode().strip() or "default"

    def get(self, kind: str, name: str, namespace: str = "") -> Json:
        """One object. Raises NotFound."""
        return self.json("get", kind, name, *_in(namespace), "-o", "json")

    def list(self, kinds: str, namespace: str = "", selector: str = "") -> list[Json]:
        """Objects of one kind, or of several with commas between.

        Args:
            namespace: empty: all of them.
        """
        where = _in(namespace) or ["--all-namespaces"]
        found = self.json("get", kinds, *where, *([f"--selector={selector}"] if selector else []), "-o", "json").get("items")
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise KubectlError(f"{PROGRAM} get {kinds} answers what is no list of objects")
        return found

    def raw(self, path: str) -> bytes:
        """The API server's answer to GET."""
        return self.run("get", "--raw", path)

    def apply(self, manifests: bytes, *options: str) -> str:
        """What became of each object, a line each. Server-side, under our name."""
        return self.run("apply", "--server-side", "--field-manager=bartizan", *options, "-f", "-", stdin=manifests).decode()

    def create(self, made: Mapping[str, Any]) -> Json:
        """An object as the API server has it, such as a review with its answer."""
        # Without validation, which would ask for the right to see every kind that there is.
        return self.json("create", "--validate=false", "-f", "-", "-o", "json", stdin=json.dumps(made).encode())

    def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], stdin: bytes = b"", within_s: float = WITHIN_S,
    ) -> bytes:
        """What a command prints that is run in a container."""
        return self.run("exec", "-i", "-n", namespace, pod, "-c", container, "--", *command, stdin=stdin, within_s=within_s)

    def may(self, verb: str, resource: str, group: str = "", namespace: str = "") -> bool:
        """Whether who asks has this right. `resource` may name a subresource: `pods/exec`."""
        of, _, subresource = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": of, "subresource": subresource, "namespace": namespace}
        review = self.create({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
        })
        return (review.get("status") or {}).get("allowed") is True


def _in(namespace: str) -> list[str]:
    return ["-n", namespace] if namespace else []


def complaint(stderr: str) -> KubectlError:
    """What kubectl complains of, as the error that it is."""
    lines = [line for line in map(str.strip, stderr.splitlines()) if line and not _KLOG.match(line)]
    text = printable("; ".join(dict.fromkeys(lines)))[:MOST_WORDS] or "it failed and does not say why"
    if found := _FORBIDDEN.search(text):
        rule = {"apiGroups": [found["group"]], "resources": [found["resource"]], "verbs": [found["verb"]]}
        where = f"in the namespace {found['namespace']}" if found["namespace"] else "in the whole cluster"
        what = f"{found['resource']}.{found['group']}" if found["group"] else found["resource"]
        who = f"{found['user']} may not {found['verb']} {what} {where}"
        return Forbidden(f"{who}; a role with this rule would let it: {json.dumps(rule)}", rule)
    if "(Forbidden)" in text:
        return Forbidden(text, {})
    if text.startswith(_NOT_FOUND):
        return NotFound(text.partition(": ")[2])
    if "(Unauthorized)" in text or "must be logged in" in text:
        return NoCluster(f"the API server does not know who asks: {text}; log in anew, or choose another --context")
    if any(words in text for words in _NO_CLUSTER):
        return NoCluster(f"no cluster answers: {text}; see --context and --kubeconfig, and try: {PROGRAM} cluster-info")
    return KubectlError(f"{PROGRAM}: {text.removeprefix('error: ')}")

