"""`bartizan certs`: make an authority, serve it, and look at what it did."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.model import identity
from sidecar.model.errors import ConfigError, MeshError
from sidecar.net.clock import wall_clock

from . import files, log
from .ca import DAY_S, HTTPS_DOMAINS
from .profile import issue_https, issue_svid


def main(argv: Sequence[str]) -> int:
    """Run one verb. Returns the exit status: 0, 1 for a failure that one line on stderr explains, 2 for wrong usage."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as exc:   # argparse has said why
        return int(exc.code or 0)
    try:
        arguments.run(arguments)
    except MeshError as exc:
        print(f"bartizan: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"bartizan: {exc.filename}: {exc.strerror}" if exc.filename else f"bartizan: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bartizan certs", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: object, help: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=help, description=help)
        made.set_defaults(run=run)
        if name not in ("serve", "inspect"):
            made.add_argument("directory", metavar="DIR", type=Path, help="the authority's directory")
        return made

    init = verb("init", _init, "make an authority: root, two intermediates, trust bundle")
    init.add_argument("--trust-domain", required=True, metavar="NAME", help="first part of every SPIFFE ID: example.org")
    init.add_argument("--https-domain", action="append", metavar="DOMAIN",
                      help=f"where the mesh's own servers may have names; repeat for more (default: {' '.join(HTTPS_DOMAINS)})")
    verb("renew", _renew, "make new intermediates from the same root; restart the issuer afterwards")
    serve = verb("serve", _serve, "answer requests for certificates")
    serve.add_argument("--config", required=True, type=Path, metavar="FILE",
                       help="JSON: directory, trustDomain, tokens {jwksFile, issuer, audience}, names, address, port, lifetimeS")
    issue = verb("issue", _issue, "issue one certificate by hand, while no issuer runs: writes PREFIX.pem and PREFIX.key")
    what = issue.add_mutually_exclusive_group(required=True)
    what.add_argument("--identity", metavar="URI", help="an SVID for spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
    what.add_argument("--https", action="append", metavar="NAME", help="a server's certificate for a DNS name; repeat for more")
    issue.add_argument("--out", required=True, type=Path, metavar="PREFIX")
    issue.add_argument("--lifetime-s", type=int, default=DAY_S, metavar="SECONDS", help="default: a day")
    inspect = verb("inspect", _inspect, "say what the certificates in a PEM file are")
    inspect.add_argument("file", type=Path, metavar="FILE")
    verb("list", _list, "list what was issued")
    verb("bundle", _bundle, "print the trust bundle")
    verify = verb("verify", _verify, "verify the chain of the issuance log")
    verify.add_argument("--head", default=log.FIRST, metavar="HASH", help="a head seen earlier, which the log must still hold")
    return parser


def _init(arguments: argparse.Namespace) -> None:
    domains = arguments.https_domain or HTTPS_DOMAINS
    made = files.init(arguments.directory, arguments.trust_domain, domains, wall_clock())
    print(f"made an authority for {made.trust_domain} in {arguments.directory}")
    print(f"{arguments.directory / files.ROOT} is needed for `renew` only: keep it elsewhere")


def _renew(arguments: argparse.Namespace) -> None:
    made = files.renew(arguments.directory, wall_clock())
    print(f"the intermediates now end at {_date(made.svid.not_after)}; restart the issuer")


def _serve(arguments: argparse.Namespace) -> None:
    import trio  # here, since no other verb needs it or TLS

    from .server import parse_config, serve

    try:
        config = parse_config(arguments.config.read_bytes())
    except ConfigError as exc:
        raise ConfigError("", f"{arguments.config}: {exc}") from exc
    trio.run(serve, config)


def _issue(arguments: argparse.Namespace) -> None:
    now, authorities = wall_clock(), files.load(arguments.directory)
    key = ec.generate_private_key(ec.SECP256R1())
    if arguments.https:
        name, authority = f"dns:{','.join(arguments.https)}", authorities.https
        leaf = issue_https(authority, key.public_key(), arguments.https, arguments.lifetime_s, now)
    else:
        name, authority = _identity(arguments.identity, authorities.trust_domain), authorities.svid
        leaf = issue_svid(authority, key.public_key(), name, "", arguments.lifetime_s, now)
    key_file, chain_file = (arguments.out.with_name(arguments.out.name + end) for end in (".key", ".pem"))
    issuance = log.Log(arguments.directory / files.LOG)
    try:
        issuance.record(leaf, name, "", "operator", now)
    finally:
        issuance.close()
    files.write(key_file, files.key_pem_of(key))
    files.write(chain_file, files.pem_of(leaf, authority.certificate))
    print(f"{chain_file} and {key_file}: {name} until {_date(leaf.not_valid_after_utc.timestamp())}")


def _identity(text: str, trust_domain: str) -> identity.SpiffeId:
    try:
        spiffe_id = identity.parse(text)
    except ValueError as exc:
        raise ConfigError("--identity", str(exc)) from exc
    if identity.parts(spiffe_id)[0] != trust_domain:
        raise ConfigError("--identity", f"{text} is not of this authority's trust domain, {trust_domain}")
    return spiffe_id


def _inspect(arguments: argparse.Namespace) -> None:
    for position, certificate in enumerate(files.load_certificates(arguments.file)):
        names, ends = _names(certificate), certificate.not_valid_after_utc.timestamp()
        print(f"{position}: {', '.join(names) or 'no names'}")
        print(f"   subject      {certificate.subject.rfc4514_string() or '(empty)'}")
        print(f"   issuer       {certificate.issuer.rfc4514_string()}")
        print(f"   kind         {'authority' if _is_ca(certificate) else 'leaf'}")
        print(f"   serial       {certificate.serial_number:032x}")
        print(f"   valid        {_date(certificate.not_valid_before_utc.timestamp())} to {_date(ends)}"
              f"{' (ENDED)' if ends <= wall_clock() else ''}")
        print(f"   fingerprint  {certificate.fingerprint(hashes.SHA256()).hex()}")


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        return [str(name.value) for name in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]
    except x509.ExtensionNotFound:
        return []


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _list(arguments: argparse.Namespace) -> None:
    for entry in log.read(arguments.directory / files.LOG):
        print(f"{_date(entry.issued)}  until {_date(entry.not_after)}  {entry.serial}  {entry.identity}  "
              f"pod {entry.pod_uid or '-'}  asked by {entry.requester}")


def _bundle(arguments: argparse.Namespace) -> None:
    print(files.pem_of(*files.load_certificates(arguments.directory / files.ROOTS)).decode(), end="")


def _verify(arguments: argparse.Namespace) -> None:
    count, head = log.verify(arguments.directory / files.LOG, arguments.head)
    print(f"{count} certificates, chain unbroken, head {head}")


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
