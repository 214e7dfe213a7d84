"""The issuance log: one JSON line for each certificate, each line holding the hash of the line before it.

A line is on the disk before its certificate leaves. Whoever edits, drops or inserts a line breaks the chain at the next one; the
end of the chain is guarded by whoever remembers a head (`Log.head`) elsewhere.
One process writes; a lock on the file keeps it the only one.
"""

import errno
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.model.chain import FIRST, Broken, follow, hash_of
from sidecar.model.errors import MeshError
from sidecar.model.trust import serial_text
from sidecar.model.value import Value

from .files import sync_directory, write
from .request import key_hash


class Entry(Value, frozen=True):
    """One issuance.

    Args:
        previous: SHA-256 of the line before, without its line feed; hex.
        serial: as `trust.serial_text` writes it.
        identity: the SPIFFE ID, or the DNS names after `dns:`, separated by commas.
        pod_uid: empty for what was not issued to a pod.
        issued, not_before, not_after: Unix seconds.
        key: `request.key_hash` of the public key.
        requester: the address that asked; `operator` or `issuer` for what was not asked for over the network.
        holder: `application` if that holds the key; empty: the sidecar, or a server of the mesh, does.
    """

    previous: str
    serial: str
    identity: str
    pod_uid: str
    issued: int
    not_before: int
    not_after: int
    key: str
    requester: str
    holder: str = ""


class LogError(MeshError):
    """The log cannot be trusted or written; nothing is issued until it can."""


class Log:
    """The open log, and who holds which key by it.

    Args:
        forget_at: how many keys are remembered before those of ended certificates are forgotten.
        head: hash of the last line; remember it elsewhere to notice a log that was cut short.
    """

    def __init__(self, path: Path, *, forget_at: int = 4096) -> None:
        """Open or make it, verify it, and move aside what a crash left of a last line (its certificate never left).

        Raises:
            LogError: the chain is broken, or another process writes to it.
        """
        self._path = path
        self._by_key: dict[str, Entry] = {}
        self._forget_at = forget_at
        self.head = FIRST
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise LogError(f"{path}: another process writes to it; stop that issuer first") from exc
            sync_directory(path.parent)     # a new file is on the disk once its directory is
            self._size = _recover(path, self._file)
            for entry, self.head in _chain(path):
                self._by_key[entry.key] = entry
        except BaseException:
            os.close(self._file)
            raise

    def holder_of(self, key: str, now: float) -> Entry | None:
        """The last certificate for the key, if it has not ended."""
        entry = self._by_key.get(key)
        return entry if entry is not None and entry.not_after > now else None

    def record(self, leaf: x509.Certificate, identity: str, pod_uid: str, requester: str, now: float, *, holder: str = "") -> None:
        """Write the certificate down and wait until the disk has it.

        It blocks the loop for the length of an fsync, so that the order of lines, the chain and who holds a key are decided in
        one step.

        Raises:
            LogError: the disk did not take it; the certificate must not leave.
        """
        public_key = leaf.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        entry = Entry(
            previous=self.head,
            serial=serial_text(leaf.serial_number),
            identity=identity,
            pod_uid=pod_uid,
            issued=int(now),
            not_before=int(leaf.not_valid_before_utc.timestamp()),
            not_after=int(leaf.not_valid_after_utc.timestamp()),
            key=key_hash(public_key),
            requester=requester,
            holder=holder,
        )
        line = msgspec.json.encode(entry)
        try:
            os.ftruncate(self._file, self._size)    # what an append that failed may have left
            if os.pwrite(self._file, line + b"\n", self._size) != len(line) + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as exc:
            raise LogError(f"{self._path}: {exc.strerror}; nothing is issued until the log can be written") from exc
        self._size += len(line) + 1
        self.head = hash_of(line)
        self._by_key[entry.key] = entry
        if len(self._by_key) > self._forget_at:
            self._by_key = {key: each for key, each in self._by_key.items() if each.not_after > entry.issued}
            self._forget_at = max(self._forget_at, 2 * len(self._by_key))

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> Iterator[Entry]:
    """The entries, in order, each checked against the line before it. Raises LogError at the first broken line."""
    for entry, _ in _chain(path):
        yield entry


def verify(path: Path, known_head: str = FIRST) -> tuple[int, str]:
    """(number of entries, head) of an unbroken log that holds `known_head`; LogError names the first broken line."""
    count, head, is_known = 0, FIRST, known_head == FIRST
    for _, head in _chain(path):
        count += 1
        is_known = is_known or head == known_head
    if not is_known:
        raise LogError(f"{path}: none of its {count} lines has the hash {known_head}; it was cut short or written anew")
    return count, head


def _chain(path: Path) -> Iterator[tuple[Entry, str]]:
    """(entry, hash of its line), as long as the chain holds."""
    try:
        with path.open("rb") as file:
            yield from follow(file, Entry)
    except Broken as exc:
        raise LogError(f"{path}: {exc}") from exc


def _recover(path: Path, file: int) -> int:
    """Move an incomplete last line to a file of its own, and say so. Returns the size of what is complete."""
    data = path.read_bytes()
    complete = data.rfind(b"\n") + 1
    if torn := data[complete:]:
        aside = path.with_name(f"{path.name}.torn-{complete}-{hashlib.sha256(torn).hexdigest()[:8]}")
        write(aside, torn, replace=True)    # replaces nothing but the same bytes
        os.ftruncate(file, complete)
        os.fsync(file)
        print(f"bartizan: {path}: its last line was incomplete, as after a crash; moved to {aside}", file=sys.stderr)
    return complete
