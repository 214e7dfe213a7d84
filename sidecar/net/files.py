"""Files that are read again when they change: certificates and keys, and the snapshot of a sidecar without a control plane. And those
that the sidecar keeps for itself over a restart.

A file that cannot be taken leaves what was taken before in force, and is reported once for each change. Replacing by rename (as
the kubelet and every careful writer do) is atomic; a half-written file fails to parse and is tried again at the next look.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress

import trio

from sidecar.model.errors import ConfigError

LOOK_EVERY_S = 0.25


def read_file(path: str, where: str) -> bytes:
    """ConfigError names the file if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as exc:
        raise ConfigError(where, f"cannot read {path}: {exc.strerror}") from exc


def keep(path: str, text: bytes) -> None:
    """Replace the file whole, readable by us alone. OSError if it cannot be; then it is as it was."""
    temporary = path + ".new"
    with suppress(FileNotFoundError):
        os.unlink(temporary)    # left by a crash
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


FileState = tuple[tuple[int, int, int], ...]


def state_of(paths: tuple[str, ...]) -> FileState:
    """What is another one when any of the files was changed or replaced."""
    found = []
    for path in paths:
        try:
            stat = os.stat(path)
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)


async def follow_files(paths: tuple[str, ...], take: Callable[[], None]) -> None:
    """Call `take` at each change of any of `paths`; its ConfigError is reported and changes nothing."""
    seen = state_of(paths)
    while True:
        await trio.sleep(LOOK_EVERY_S)
        now = state_of(paths)
        if now != seen:
            seen = now
            try:
                take()
            except ConfigError as exc:
                print(f"bartizan: kept the previous version: {exc}", file=sys.stderr, flush=True)
