"""The targets by name, and the seeds of each."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tests.fuzz import (
    authority,
    chunked_body,
    client_hello,
    dns_question,
    first_bytes,
    http2_frames,
    original_destination,
    request_head,
    response_head,
    snapshot,
    spiffe_id,
    start_tls,
    target,
)
from tests.protocol.test_head import VECTORS

SEEDS = Path(__file__).parents[1] / "vectors" / "fuzz"


class Target(NamedTuple):
    """
    Args:
        fuzz: raises if the invariant does not hold for these bytes.
        pieces: of what inputs are made.
    """

    fuzz: Callable[[bytes], None]
    pieces: tuple[bytes, ...]


def _of(module: ModuleType) -> tuple[str, Target]:
    return module.__name__.rpartition(".")[2], Target(module.fuzz, module.PIECES)


TARGETS = dict(map(_of, (
    authority, chunked_body, client_hello, dns_question, first_bytes, http2_frames, original_destination, request_head, response_head,
    snapshot, spiffe_id, start_tls, target,
)))


def seeds(name: str) -> dict[str, bytes]:
    """By file name."""
    found = {path.name: path.read_bytes() for path in sorted((SEEDS / name).iterdir())}
    if name in ("request_head", "first_bytes"):
        found.update({f"http1/{vector.name}": vector.data for vector in VECTORS})
    return found
