"""`bartizan uninject -f FILE`: manifests without our parts, as they were before `bartizan inject`, on standard output.

Our annotations go, too; those that users wrote stay in the form that admission gave them, JSON. What the API server fills in by itself
may stand where nothing stood.
"""

import argparse
from typing import Any

from injector.cluster.objects import TEMPLATES, Object
from injector.unpatch import unpatch

from .inject import read_all_of, with_template, write
from .manifests import Manifest


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan uninject", description="Print manifests without our parts.")
    parser.add_argument("-f", dest="files", action="append", required=True, metavar="FILE", help="YAML or JSON; - is standard input")
    write([uninject(manifest) for manifest in read_all_of(parser.parse_args(argv).files)])
    return 0


def uninject(manifest: Manifest) -> dict[str, Any]:
    """The object; any other than a pod or a workload as it is. Raises ConfigError."""
    one = Object(manifest.data)
    if one.kind == "Pod":
        return unpatch(manifest.data)
    path = TEMPLATES.get(one.kind)
    if path is None or one.template is None:
        return manifest.data
    return with_template(manifest.data, path, unpatch(one.template.data))
