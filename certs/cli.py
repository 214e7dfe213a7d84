"""`bartizan certs`: make an authority, serve it, and look at what it did."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.model.chain import FIRST
from sidecar.model.errors import ConfigError, MeshError
from sidecar.model.trust import DenyList, serial_text
from sidecar.net.clock import wall_clock

from . import cli_init, files, log, revocation, rotation, trust
from .bundle import spiffe_bundle
from .ca import DAY_S, fingerprint
from .profile import issue_https, issue_svid
from .request import key_hash
from .revocation import Revocation
from .rotation import Phase, Rotation

_PHASES = {
    Phase.TRUST_BOTH: "phase 1 of 3: both roots are trusted, the old one signs",
    Phase.SIGN_NEW: "phase 2 of 3: both roots are trusted, the new one signs",
    Phase.DROP_OLD: "phase 3 of 3: the old root is dropped; the rotation is complete",
    Phase.SIGN_OLD: "aborted: both roots are trusted, the old one signs until nobody has a certificate under the new one",
    Phase.DROP_NEW: "aborted: the new root is dropped",
}


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
    except BrokenPipeError:
        return 141      # whoever read has seen enough
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
        if name not in ("init", "serve", "inspect"):
            made.add_argument("directory", metavar="DIR", type=Path, help="the authority's directory")
        return made

    cli_init.add_to(verb("init", cli_init.run, "make an authority: root, two intermediates, trust bundle"))
    rotate = verb("rotate", _rotate, "make new intermediates, or change the root without an outage; a running issuer follows")
    step = rotate.add_mutually_exclusive_group(required=True)
    step.add_argument("--intermediates", action="store_true", help="new intermediates from the same root")
    step.add_argument("--root", action="store_true", help="begin to change the root")
    step.add_argument("--status", action="store_true", help="say how far the change of the root is, and who is awaited")
    step.add_argument("--proceed", action="store_true", help="go on to the next phase, where no injector is asked who is ready")
    step.add_argument("--abort", action="store_true", help="go back to the old root")
    rotate.add_argument("--without", action="append", default=[], metavar="NAME",
                        help="with --proceed: go on without this holder, which is known to be dead; repeat for more")
    revoke = verb("revoke", _revoke, "refuse an identity, a pod, a key or one certificate from now on")
    whom = revoke.add_mutually_exclusive_group(required=True)
    whom.add_argument("--identity", metavar="URI", help="every certificate with this SPIFFE ID")
    whom.add_argument("--pod", metavar="UID", help="every certificate of this pod")
    whom.add_argument("--key", metavar="FILE|HASH",
                      help="this key: a certificate, a certificate request or a public key in PEM, or the SHA-256 of its DER in hex")
    whom.add_argument("--serial", metavar="HEX", help="this one certificate; the pod may get another")
    whom.add_argument("--list", action="store_true", help="say who is revoked")
    revoke.add_argument("--reason", default="", metavar="TEXT", help="written down beside it")
    revoke.add_argument("--lift", action="store_true", help="take it back")
    revoke.add_argument("--force", action="store_true", help="also a serial that the issuance log does not know")
    serve = verb("serve", _serve, "answer requests for certificates")
    serve.add_argument("--config", required=True, type=Path, metavar="FILE",
                       help="JSON: directory, trustDomain, tokens {jwksFile, issuer, audience}, names, address, port, lifetimeS, "
                            "servers [{namespace, serviceAccount, names}], injectorUrl, identity")
    issue = verb("issue", _issue, "issue one certificate by hand, while no issuer runs: writes PREFIX.pem and PREFIX.key")
    what = issue.add_mutually_exclusive_group(required=True)
    what.add_argument("--identity", metavar="URI", help="an SVID for spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
    what.add_argument("--https", action="append", metavar="NAME", help="a server's certificate for a DNS name; repeat for more")
    issue.add_argument("--out", required=True, type=Path, metavar="PREFIX")
    issue.add_argument("--lifetime-s", type=int, default=DAY_S, metavar="SECONDS", help="default: a day")
    inspect = verb("inspect", _inspect, "say what the certificates in a PEM file are")
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.add_argument("--authority", type=Path, metavar="DIR", help="also say what of it this authority has revoked")
    verb("list", _list, "list what was issued")
    bundle = verb("bundle", _bundle, "print the trust bundle")
    bundle.add_argument("-o", "--output", choices=("pem", "spiffe"), default="pem", help="PEM, or the JSON form of SPIFFE (pem)")
    verify = verb("verify", _verify, "verify the chain of the issuance log")
    verify.add_argument("--head", default=FIRST, metavar="HASH", help="a head seen earlier, which the log must still hold")
    return parser


def _rotate(arguments: argparse.Namespace) -> None:
    directory, now = arguments.directory, wall_clock()
    if arguments.without and not arguments.proceed:
        raise ConfigError("--without", "it belongs to --proceed")
    if arguments.status:
        files.load(directory)
        _tell(rotation.read(directory))
        return
    with files.locked(directory):
        standing = trust.publish(directory, now)
        if arguments.intermediates:
            if standing.rotation is not None:
                raise ConfigError("--intermediates", "the root is being rotated, which makes new intermediates anyhow")
            made = files.renew(directory, now)
            print(f"the intermediates now end at {_date(made.svid.not_after)}")
            return
        if arguments.root:
            turned = rotation.begin(directory, standing.trust.signer, trust.next_version(directory, now), now)
        elif arguments.proceed:
            turned = rotation.proceed(directory, arguments.without, now)
        else:
            turned = rotation.abort(directory, now)
        trust.publish(directory, now)
    _tell(turned)


def _tell(turned: Rotation | None) -> None:
    if turned is None:
        print("no root rotation is under way")
        return
    print(f"{_PHASES[turned.phase]} (since {_date(turned.since)})")
    if turned.phase is Phase.DROP_OLD:
        print(f"{files.ROOT} is the new root's key now: keep it elsewhere; the old one's is {rotation.RETIRED.format('...')}: destroy it")
    if turned.phase in (Phase.DROP_OLD, Phase.DROP_NEW):
        return
    print(f"old root {turned.old}\nnew root {turned.new}")
    if turned.without:
        print(f"given up: {', '.join(turned.without)}")
    if turned.awaited is None:
        print("nobody was asked yet who is ready: an issuer with `injectorUrl` asks within seconds, and goes on by itself; "
              "without one, `rotate DIR --proceed` goes on")
    for awaited in turned.awaited or ():
        print(f"awaited: {_plain(awaited.name)} {_plain(awaited.why)}")     # the injector's words


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _revoke(arguments: argparse.Namespace) -> None:
    directory, now = arguments.directory, wall_clock()
    if arguments.list:
        files.load(directory)
        entries = revocation.read(directory)
        if not entries:
            print("nobody is revoked")
        for entry in entries:
            print(f"{_date(entry.time)}  {entry.kind}  {entry.value}  {entry.reason or '-'}{'  (over)' if entry.is_over(now) else ''}")
        return
    kind = next(kind for kind in revocation.KINDS if getattr(arguments, kind) is not None)
    value = revocation.value_of(kind, getattr(arguments, kind), files.load(directory).trust_domain)
    with files.locked(directory):
        if arguments.lift:
            said = "is not revoked any more" if revocation.lift(directory, kind, value) else "was not revoked"
        else:
            until = _until(directory, value, now, is_forced=arguments.force) if kind == "serial" else 0.0
            if value in trust.publish(directory, now).own_keys:
                raise ConfigError("--key", "the authority signs with it, so everybody would be refused; `rotate` first, then revoke it")
            is_news = revocation.add(directory, Revocation(kind, value, now, arguments.reason, until))
            said = "is revoked" if is_news else "was revoked already"
        version = trust.publish(directory, now).trust.version
    print(f"{kind} {value} {said}; trust version {version}")
    if not arguments.lift and kind in ("identity", "pod") and not _is_known(directory / files.LOG, value):
        print(f"nothing was ever issued to it, as far as {directory / files.LOG} says: is it spelt right?", file=sys.stderr)


def _is_known(path: Path, name: str) -> bool:
    return path.exists() and any(name in (entry.identity, entry.pod_uid) for entry in log.read(path))


def _until(directory: Path, serial: str, now: float, *, is_forced: bool) -> float:
    path = directory / files.LOG
    not_after = next((entry.not_after for entry in log.read(path) if entry.serial == serial), None) if path.exists() else None
    if not_after is None and not is_forced:
        raise ConfigError("--serial", f"no certificate with the serial {serial} was issued here; `bartizan certs list {directory}` "
                                      "shows those that were, --force revokes it all the same")
    return revocation.until(not_after, now)


def _serve(arguments: argparse.Namespace) -> None:
    import trio  # here, since no other verb needs it or TLS

    from sidecar.net.ending import serve_until_told
    from sidecar.net.memory import keep_memory_private

    from .server import parse_config, serve

    try:
        config = parse_config(arguments.config.read_bytes())
    except ConfigError as exc:
        raise ConfigError("", f"{arguments.config}: {exc}") from exc
    keep_memory_private()
    trio.run(serve_until_told, partial(serve, config))


def _issue(arguments: argparse.Namespace) -> None:
    now, authorities = wall_clock(), files.load(arguments.directory)
    key = ec.generate_private_key(ec.SECP256R1())
    if arguments.https:
        name, authority = f"dns:{','.join(arguments.https)}", authorities.https
        leaf = issue_https(authority, key.public_key(), arguments.https, arguments.lifetime_s, now)
    else:
        name, authority = revocation.identity_of(arguments.identity, authorities.trust_domain), authorities.svid
        if why := _denied(arguments.directory).why(name, "", 0, ""):
            raise ConfigError("--identity", f"{why}; `bartizan certs revoke --lift` would take it back")
        leaf = issue_svid(authority, key.public_key(), name, "", arguments.lifetime_s, now)
    key_file, chain_file = (arguments.out.with_name(arguments.out.name + end) for end in (".key", ".pem"))
    for path in (key_file, chain_file):     # before anything is written down as issued
        if path.exists():
            raise ConfigError("--out", f"{path} exists already and is not overwritten; remove it or choose another name")
        if not path.parent.is_dir():
            raise ConfigError("--out", f"there is no folder {path.parent}; make it first")
    issuance = log.Log(arguments.directory / files.LOG)
    try:
        issuance.record(leaf, name, "", "operator", now)
    finally:
        issuance.close()
    files.write(key_file, files.key_pem_of(key))
    files.write(chain_file, files.pem_of(leaf, *authority.chain))
    print(f"{chain_file} and {key_file}: {name} until {_date(leaf.not_valid_after_utc.timestamp())}")


def _inspect(arguments: argparse.Namespace) -> None:
    deny = _denied(arguments.authority) if arguments.authority is not None else None
    if not arguments.file.exists():
        raise ConfigError("", f"{arguments.file}: there is no such file")
    for position, certificate in enumerate(files.load_certificates(arguments.file)):
        names, ends = _names(certificate), certificate.not_valid_after_utc.timestamp()
        print(f"{position}: {', '.join(names) or 'no names'}")
        print(f"   subject      {certificate.subject.rfc4514_string() or '(empty)'}")
        print(f"   issuer       {certificate.issuer.rfc4514_string()}")
        print(f"   kind         {'authority' if _is_ca(certificate) else 'leaf'}")
        print(f"   serial       {serial_text(certificate.serial_number)}")
        print(f"   valid        {_date(certificate.not_valid_before_utc.timestamp())} to {_date(ends)}"
              f"{' (ENDED)' if ends <= wall_clock() else ''}")
        print(f"   fingerprint  {fingerprint(certificate)}")
        if holder := _of_subject(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME):
            print(f"   key held by  {holder}")
        if deny is not None:
            uid, key = _of_subject(certificate, NameOID.USER_ID), key_hash(certificate.public_key())
            revoked = (deny.why(name, uid, certificate.serial_number, key) for name in names or [""])
            print(f"   revoked      {next(filter(None, revoked), 'no')}")


def _denied(directory: Path) -> DenyList:
    return DenyList.of(revocation.published(revocation.read(directory), wall_clock()))


def _of_subject(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> str:
    return ",".join(str(each.value) for each in certificate.subject.get_attributes_for_oid(kind))


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
    deny = _denied(arguments.directory)
    for entry in log.read(arguments.directory / files.LOG):
        why = deny.why(entry.identity, entry.pod_uid, int(entry.serial, 16), entry.key)
        print(f"{_date(entry.issued)}  until {_date(entry.not_after)}  {entry.serial}  {entry.identity}  "
              f"pod {entry.pod_uid or '-'}  asked by {entry.requester}"
              f"{f'  held by the {entry.holder}' if entry.holder else ''}{f'  REVOKED: {why}' if why else ''}")


def _bundle(arguments: argparse.Namespace) -> None:
    roots = files.load_certificates(arguments.directory / files.ROOTS)
    if arguments.output == "spiffe":
        print(spiffe_bundle(roots, trust.last_published(arguments.directory).version).decode())
    else:
        print(files.pem_of(*roots).decode(), end="")


def _verify(arguments: argparse.Namespace) -> None:
    count, head = log.verify(arguments.directory / files.LOG, arguments.head)
    print(f"{count} certificates, chain unbroken, head {head}")


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
