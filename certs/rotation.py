"""A root is rotated without an outage: nobody signs with the new one before everybody trusts it, nor is the old one dropped before
nobody uses it.

    phase        the mesh trusts   signs with    goes on when every holder
    trust-both   old and new       old           holds the trust with both
    sign-new     old and new       new           has a certificate under the new root as well
    drop-old     new               new           (at once; the rotation is over)
    sign-old     old and new       old           has a certificate under the old root again
    drop-new     old               old           (at once; it was aborted)

            acknowledged             acknowledged
    trust-both ------------> sign-new ------------> drop-old
        |                       |
        | aborted               | aborted
        v                       v    acknowledged
        +---------> sign-old <--+------------------> drop-new

What is decided is one file, written in one step: rotation.json. `settle` then makes the others what it says, and may do so again
after a crash wherever that happened; after each single write the directory can be loaded.

While two roots are trusted the issuer's own HTTPS stays under the old one: that is what a pod trusts that was admitted before, and
starts late. Who trusts the new root alone comes only after the old one was dropped.
Everything here that writes is called under `files.locked`.

Trust: who holds what is the injector's word (`holders.py`), which may be false: it can stall a rotation, or hasten one so that pods are
left behind, and nothing else. Attacked by tests/threats/test_trust.py.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec.structs import replace

from sidecar.model.errors import ConfigError
from sidecar.model.trust import INJECTOR, Holder, Version
from sidecar.model.value import Value, from_json

from . import files
from .ca import Authority, create_https_intermediate, create_root, create_svid_intermediate, fingerprint, trust_domain_of
from .profile import permitted_domains

ROTATION = "rotation.json"
NEXT_ROOT = "next-root.key"
PREVIOUS = "previous-{}"            # the intermediates under the old root, kept until that is dropped
RETIRED = "retired-root-{}.key"     # by the first digits of its fingerprint


class Phase(StrEnum):
    TRUST_BOTH = "trust-both"
    SIGN_NEW = "sign-new"
    DROP_OLD = "drop-old"
    SIGN_OLD = "sign-old"
    DROP_NEW = "drop-new"


class Event(StrEnum):
    ACKNOWLEDGED = "acknowledged"
    ABORTED = "aborted"


TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.TRUST_BOTH, Event.ACKNOWLEDGED): Phase.SIGN_NEW,
    (Phase.SIGN_NEW, Event.ACKNOWLEDGED): Phase.DROP_OLD,
    (Phase.TRUST_BOTH, Event.ABORTED): Phase.SIGN_OLD,
    (Phase.SIGN_NEW, Event.ABORTED): Phase.SIGN_OLD,
    (Phase.SIGN_OLD, Event.ACKNOWLEDGED): Phase.DROP_NEW,
}


class Awaited(Value, frozen=True):
    """A holder that has not what the phase needs, and why."""

    name: str
    why: str


class Rotation(Value, frozen=True):
    """
    Args:
        old, new: fingerprints of the two roots.
        needs: no trust of a lower version holds both.
        since: Unix seconds, when the phase began.
        without: the holders that the operator has given up.
        awaited: who was awaited when the injector was last asked; null: nobody asks one, the operator moves the rotation.
    """

    phase: Phase
    old: str
    new: str
    needs: Version
    since: float
    without: tuple[str, ...] = ()
    awaited: tuple[Awaited, ...] | None = None


def read(directory: Path) -> Rotation | None:
    """The rotation that is under way. ConfigError if its file cannot be read."""
    path = directory / ROTATION
    try:
        return from_json(path.read_bytes(), Rotation)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError("", f"{path}: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError("", f"{path}: {exc}") from exc


def begin(directory: Path, old: str, version: int, now: float) -> Rotation:
    """Make the next root and trust it besides the old one.

    Args:
        old: fingerprint of the root that is signed with.
        version: of the trust that will be the first to hold both.
    """
    if read(directory) is not None:
        raise ConfigError("", f"a root rotation is under way already; see: bartizan certs rotate {directory} --status")
    root = create_root(files.load(directory).trust_domain, now)
    files.store(directory / NEXT_ROOT, root, replace=True)     # what lies there is of an attempt that never began
    return _enter(directory, Rotation(Phase.TRUST_BOTH, old, fingerprint(root.certificate), version, now), now)


def hear(directory: Path, phase: Phase, holders: Sequence[Holder] | str, now: float) -> Rotation | None:
    """Take the injector's answer, and go on if nobody is awaited any more. Returns what the rotation is then.

    Args:
        phase: in which the injector was asked; if it is another by now, the answer says nothing.
        holders: or why there is no answer.
    """
    rotation = read(directory)
    if rotation is None or rotation.phase is not phase or (phase, Event.ACKNOWLEDGED) not in TRANSITIONS:
        return rotation
    awaited = (Awaited(INJECTOR, holders),) if isinstance(holders, str) else awaited_of(rotation, holders)
    if not awaited:
        return _move(directory, rotation, Event.ACKNOWLEDGED, now)
    if awaited != rotation.awaited:
        rotation = replace(rotation, awaited=awaited)
        _write(directory, rotation)
    return rotation


def proceed(directory: Path, without: Sequence[str], now: float) -> Rotation:
    """The operator's word that the phase is over, as far as nobody is known to be awaited. Returns what the rotation is then.

    Args:
        without: holders that are given up for the whole of the rotation.
    """
    rotation = _under_way(directory)
    awaited = rotation.awaited or ()
    if unknown := sorted(set(without) - {each.name for each in awaited} - set(rotation.without)):
        names = ", ".join(each.name for each in awaited) or "nobody by name"
        raise ConfigError("--without", f"{', '.join(unknown)} is not awaited; awaited: {names}")
    rotation = replace(rotation, without=tuple(sorted({*rotation.without, *without})))
    if left := tuple(each for each in awaited if each.name not in rotation.without):
        rotation = replace(rotation, awaited=left)
        _write(directory, rotation)
        return rotation
    return _move(directory, rotation, Event.ACKNOWLEDGED, now)


def abort(directory: Path, now: float) -> Rotation:
    """Back to the old root, which stays the only one as soon as nobody has a certificate under the new one."""
    return _move(directory, _under_way(directory), Event.ABORTED, now)


def awaited_of(rotation: Rotation, holders: Iterable[Holder]) -> tuple[Awaited, ...]:
    """Who has not what the phase needs. An answer without the injector itself is not whole, and shows nothing."""
    known = {holder.name: holder for holder in holders}
    known.setdefault(INJECTOR, Holder(INJECTOR))
    lacking = ((name, _lacks(rotation, holder)) for name, holder in sorted(known.items()) if name not in rotation.without)
    return tuple(Awaited(name, why) for name, why in lacking if why)


def settle(directory: Path, now: float) -> None:
    """Make the directory what the rotation says, whatever of it was done before. Without one there is nothing to do."""
    rotation = read(directory)
    match rotation and rotation.phase:
        case Phase.TRUST_BOTH:
            _trust_next(directory)
        case Phase.SIGN_NEW:
            _sign_with_next(directory, now)
        case Phase.SIGN_OLD:
            for name in (files.SVID, files.HTTPS):
                _rename(directory / PREVIOUS.format(name), directory / name)
        case Phase.DROP_OLD:
            assert rotation is not None
            _keep_only(directory, rotation.new, rotation.old)
        case Phase.DROP_NEW:
            assert rotation is not None
            _keep_only(directory, rotation.old, rotation.new)


def own_https(directory: Path, authorities: files.Authorities) -> Authority:
    """What the issuer's own HTTPS is signed with: while two roots are trusted, the intermediate under the old one."""
    previous = directory / PREVIOUS.format(files.HTTPS)
    return files.load_authority(previous) if previous.exists() else authorities.https


def _lacks(rotation: Rotation, holder: Holder) -> str:
    signer = {Phase.SIGN_NEW: rotation.new, Phase.SIGN_OLD: rotation.old}.get(rotation.phase)
    if rotation.phase is not Phase.SIGN_OLD and holder.trust < rotation.needs:
        return f"holds trust {holder.trust}, and both roots are in {rotation.needs} and later" if holder.trust else "was not heard of yet"
    if signer is not None and holder.signer != signer:
        return f"has its certificate under the root {holder.signer[:16] or '(unknown)'}, not {signer[:16]}"
    return ""


def _move(directory: Path, rotation: Rotation, event: Event, now: float) -> Rotation:
    phase = TRANSITIONS.get((rotation.phase, event))
    if phase is None:
        raise ConfigError("", f"in the phase {rotation.phase} a rotation cannot be {event}")
    settle(directory, now)      # the phase before is whole, whatever became of the process that began it
    # Where an injector is asked, it is asked anew before the operator can have the next phase be over.
    awaited = None if rotation.awaited is None else (Awaited(INJECTOR, "was not asked since this phase began"),)
    return _enter(directory, replace(rotation, phase=phase, awaited=awaited, since=now), now)


def _enter(directory: Path, rotation: Rotation, now: float) -> Rotation:
    _write(directory, rotation)
    settle(directory, now)
    return rotation


def _under_way(directory: Path) -> Rotation:
    rotation = read(directory)
    if rotation is None:
        raise ConfigError("", f"no root rotation is under way; begin one: bartizan certs rotate {directory} --root")
    return rotation


def _write(directory: Path, rotation: Rotation) -> None:
    files.write(directory / ROTATION, msgspec.json.encode(rotation), replace=True)


def _trust_next(directory: Path) -> None:
    root, roots = files.load_authority(directory / NEXT_ROOT).certificate, files.load_certificates(directory / files.ROOTS)
    if root not in roots:
        files.write(directory / files.ROOTS, files.pem_of(*roots, root), replace=True)


def _sign_with_next(directory: Path, now: float) -> None:
    root = files.load_authority(directory / NEXT_ROOT)
    for name in (files.SVID, files.HTTPS):
        old = files.load_authority(directory / name)
        if files.is_issued_by(old.certificate, root.certificate):
            continue
        if name == files.SVID:
            new = create_svid_intermediate(root, trust_domain_of(old.certificate), now)
        else:
            new = create_https_intermediate(root, permitted_domains(old), now)
        files.store(directory / PREVIOUS.format(name), old, replace=True)
        files.store(directory / name, new, replace=True)


def _keep_only(directory: Path, kept: str, dropped: str) -> None:
    """One of the two roots: in the bundle, as root.key; the other's key under a name that says so, its intermediates gone."""
    roots = files.load_certificates(directory / files.ROOTS)
    if kept not in map(fingerprint, roots):
        raise ConfigError(
            "", f"{directory / ROTATION} is of another rotation: it keeps the root {kept[:16]}, which is not in {files.ROOTS}")
    left = [root for root in roots if fingerprint(root) != dropped]
    if len(left) < len(roots):
        files.write(directory / files.ROOTS, files.pem_of(*left), replace=True)
    root, next_root = directory / files.ROOT, directory / NEXT_ROOT
    for path in (root, next_root):
        if path.exists() and (found := fingerprint(files.load_authority(path).certificate)) != kept:
            _rename(path, directory / RETIRED.format(found[:16]))
    _rename(next_root, root)
    for name in (files.SVID, files.HTTPS):
        (directory / PREVIOUS.format(name)).unlink(missing_ok=True)
    (directory / ROTATION).unlink()
    files.sync_directory(directory)


def _rename(source: Path, target: Path) -> None:
    """If there is a `source`."""
    try:
        source.rename(target)
    except FileNotFoundError:
        return
    files.sync_directory(target.parent)
