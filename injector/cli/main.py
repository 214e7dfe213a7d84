"""`bartizan`: a table of verbs that imports nothing until one is chosen, so that the pod loads the sidecar and nothing else."""

import importlib
import sys

from .exits import DATA, UNKNOWN, USAGE

VERBS = {
    "sidecar": ("sidecar.start", "run the sidecar proxy"),
    "gateway": ("sidecar.start:gateway", "run an ingress or egress gateway outside of a meshed pod"),
    "intercept": ("sidecar.intercept", "load the packet rules of this pod"),
    "certs": ("certs.cli", "the certificate authority: init, serve, issue, inspect, list, rotate, revoke, bundle, verify"),
    "injector": ("injector.server", "run the admission webhook and the snapshot stream"),
    "install": ("injector.cli.install", "print the manifests of a control plane, for kubectl apply"),
    "upgrade": ("injector.cli.upgrade", "the same, after a look at what is installed"),
    "uninstall": ("injector.cli.uninstall", "remove a control plane, once nobody is in its mesh"),
    "inject": ("injector.cli.inject", "print manifests as the webhook would patch them"),
    "uninject": ("injector.cli.uninject", "print them without our parts"),
    "analyze": ("injector.cli.analyze", "find mistakes in manifests, without a cluster"),
    "schema": ("injector.cli.schema", "print the JSON Schema of a document"),
    "check": ("injector.cli.check", "whether all is as it must be: before an installation, of it, of the pods in the mesh"),
    "status": ("injector.cli.status", "each pod's sidecar: snapshot, certificate, mTLS, rules"),
    "describe": ("injector.cli.describe", "what stands for a pod or a Service, as it is enforced"),
    "config": ("injector.cli.config", "the snapshot of a pod's sidecar, without keys"),
    "explain": ("injector.cli.explain", "what a reason code means, and what to do"),
    "egress": ("injector.cli.egress", "what workloads reach outside of the mesh: explain, propose"),
    "reach": ("injector.cli.reach", "may one end reach another, by which NetworkPolicy"),
    "verify": ("injector.cli.verify", "one real request from a pod, each step of its way shown"),
    "audit": ("injector.cli.audit", "what the ledgers prove: mtls, certs, egress; and whether they can be believed: verify"),
    "version": ("injector.cli.version", "which version this is"),
    "demo": ("injector.demo.cli", "the whole path on this machine, in network namespaces"),
    "bench": ("injector.cli.bench", "speed and size beside Envoy, nginx and HAProxy, on this machine"),
}
HIDDEN = {"operator": ("injector.cli.operator", "put a question of the other verbs to the injector beside us")}
ALIASES = {"--version": "version", "ps": "status"}


def main() -> int:
    args = sys.argv[1:]
    verb = args[0] if args else ""
    verb = ALIASES.get(verb, verb)
    if verb in ("", "-h", "--help", "help"):
        print("usage: bartizan VERB ...\n")
        for name, (_, what) in VERBS.items():
            print(f"  {name:<10} {what}")
        return 0 if verb else USAGE
    if verb not in VERBS and verb not in HIDDEN:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "; `bartizan help` lists the verbs"
        print(f"bartizan: unknown verb {verb!r}{hint}", file=sys.stderr)
        return USAGE
    name, _, function = {**VERBS, **HIDDEN}[verb][0].partition(":")
    run = getattr(importlib.import_module(name), function or "main")
    from sidecar.model.errors import ConfigError, MeshError

    try:
        return int(run(args[1:]))
    except SystemExit as exc:       # argparse has said what is wrong
        return USAGE if exc.code == 2 else int(exc.code or 0)
    except MeshError as exc:
        print(f"bartizan: {exc}", file=sys.stderr)
        return DATA if isinstance(exc, ConfigError) else UNKNOWN
    except ExceptionGroup as group:     # a nursery wraps what ends it
        known, unknown = group.split(MeshError)
        if known is None or unknown is not None:
            raise
        first: BaseException = known
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        print(f"bartizan: {first}", file=sys.stderr)
        return DATA if isinstance(first, ConfigError) else UNKNOWN
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141


if __name__ == "__main__":
    sys.exit(main())
