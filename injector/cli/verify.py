"""`bartizan verify FROM URL`: one real request by the way that the application's would take, each step shown, and its answer.

The pod's sidecar sends it through its own outbound recipe: GET, HEAD or OPTIONS, nothing that changes anything there. It is written
down like the application's own.
"""

import argparse

from sidecar.model.errors import ConfigError
from sidecar.model.explanation import SENT_METHODS

from . import asking
from .doors import doors_of

KINDS = {"http": ("plain", 80), "https": ("tls", 443)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan verify", description="One real request from a pod, by the way its application's take.")
    parser.add_argument("pod", metavar="FROM", help="NAMESPACE/POD, or NAMESPACE/WORKLOAD for its first pod; with -n the plain name")
    parser.add_argument("url", metavar="URL", help="as the application says it: http://api.partner.example/v1")
    parser.add_argument("--method", default="GET", choices=SENT_METHODS, help="default GET")
    asking.add_arguments(parser)
    args = parser.parse_args(argv)
    scheme, _, rest = args.url.partition("://")
    if scheme not in KINDS:
        raise ConfigError("URL", f"{args.url[:100]!r} is neither http://HOST/... nor https://HOST/...")
    kind, default = KINDS[scheme]
    place, slash, path = rest.partition("/")
    host, port = asking.authority(place)
    question = asking.question(host, port or default, kind, args.method, slash + path or "/", sends=True)
    return asking.show(asking.ask(doors_of(args), asking.pod_name(args), question), as_json=args.json)
