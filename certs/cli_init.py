"""`bartizan certs init`: a new authority, in a directory or as a Secret, below a root of its own or one that was brought along."""

import argparse
import sys
import tempfile
from pathlib import Path

from sidecar.model.errors import ConfigError
from sidecar.net.clock import wall_clock

from . import files
from .ca import HTTPS_DOMAINS


def add_to(init: argparse.ArgumentParser) -> None:
    """Its arguments."""
    where = init.add_mutually_exclusive_group(required=True)
    where.add_argument("directory", metavar="DIR", type=Path, nargs="?", help="where it shall be")
    where.add_argument("--secret", metavar="NAMESPACE/NAME",
                       help="nowhere: print it as a Kubernetes Secret, for `kubectl create -f -` (`apply` would overwrite an authority)")
    init.add_argument("--trust-domain", required=True, metavar="NAME", help="first part of every SPIFFE ID: example.org")
    init.add_argument("--https-domain", action="append", metavar="DOMAIN",
                      help=f"where the mesh's own servers may have names; repeat for more (default: {' '.join(HTTPS_DOMAINS)})")
    brought = init.add_argument_group("a root that was brought along (PEM)")
    brought.add_argument("--root-certificate", type=Path, metavar="FILE")
    brought.add_argument("--root-key", type=Path, metavar="FILE", help="makes the two intermediates; left out, give four files instead:")
    for kind in ("svid", "https"):
        brought.add_argument(f"--{kind}-certificate", type=Path, metavar="FILE",
                             help=f"the issuing certificate for {kind.upper()}s" if kind == "svid" else "that for the mesh's own HTTPS")
        brought.add_argument(f"--{kind}-key", type=Path, metavar="FILE")


def run(arguments: argparse.Namespace) -> None:
    if arguments.secret is not None:
        _init_secret(arguments)
        return
    _make(arguments, arguments.directory)
    print(f"made an authority for {arguments.trust_domain} in {arguments.directory}")
    if (arguments.directory / files.ROOT).exists():
        print(f"{arguments.directory / files.ROOT} is needed for `rotate --intermediates` only: keep it elsewhere")


def _init_secret(arguments: argparse.Namespace) -> None:
    from . import secret_store  # here, as `own_root` below: other verbs need no TLS

    place = secret_store.place_of(arguments.secret)
    with tempfile.TemporaryDirectory(dir=secret_store.MEMORY) as folder:
        _make(arguments, Path(folder))
        print(secret_store.manifest(*place, secret_store.read_files(Path(folder))))
    print(f"bartizan: {files.ROOT} is in it for `rotate --intermediates` only", file=sys.stderr)


def _make(arguments: argparse.Namespace, directory: Path) -> None:
    from . import own_root

    domain, domains, now = arguments.trust_domain, arguments.https_domain or HTTPS_DOMAINS, wall_clock()
    root, key = arguments.root_certificate, arguments.root_key
    pairs = [getattr(arguments, f"{kind}_{part}") for kind in ("svid", "https") for part in ("certificate", "key")]
    notes: list[str] = []
    match root is not None, key is not None, sum(file is not None for file in pairs):
        case False, False, 0:
            files.init(directory, domain, domains, now)
        case True, True, 0:
            _, notes = own_root.with_key(directory, root, key, domain, domains, now)
        case True, False, 4:
            svid, https = own_root.Pair(*pairs[:2]), own_root.Pair(*pairs[2:])
            _, notes = own_root.with_pairs(directory, root, svid, https, domain, now)
        case _:
            raise ConfigError("--root-certificate", "with it belongs either --root-key, or all four of --svid-certificate, --svid-key, "
                                                    "--https-certificate and --https-key")
    for note in notes:
        print(f"bartizan: note: {note}", file=sys.stderr)
