"""`bartizan audit verify FILE...`: whether evidence is what was written, and which line is the first that is not.

    FILE    a store of the control plane (folder); a file of it; the folder of a sidecar's own ledger; an issuance log

The chain shows what was edited, removed or reordered. Countersignatures in it, and the last ones of heads.json, show a chain that was
written anew with hashes that fit, and a tail that was cut. heads.json beside the store may have been changed with it: an auditor keeps
a copy elsewhere and gives it as --heads.

Trust: whoever could write to the store may have written anything there; only keys and heads that were kept elsewhere bind him.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from certs import log as issuance
from injector.countersign import PUBLIC, load_keys
from injector.ledger_store import HEADS, Part, read_heads, read_removed
from sidecar.model.chain import FIRST, Broken, Unlinked, follow
from sidecar.model.errors import ConfigError

from .breaks import explain
from .document import plain
from .walk import Finding, Known, Report, Walk, read_lines

_SEGMENT = re.compile(r"[0-9]{12}\.jsonl", re.ASCII)


def verify(paths: Iterable[str], key: str | None = None, heads: str | None = None) -> Report:
    """ConfigError if something is not there or cannot be read."""
    report = Report()
    for path in map(Path, paths):
        try:
            _verify(report, path, key, heads)
        except OSError as exc:
            raise ConfigError("", f"{exc.filename or path}: {exc.strerror}") from exc
    return report


def _verify(report: Report, path: Path, key: str | None, heads: str | None) -> None:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    segments = [file for file in files if _SEGMENT.fullmatch(file.name)]
    if path.is_dir() and segments:
        known = _known(path, path, key, heads)
        Walk(report, known, "", is_own=True).run([Part(number, int(file.stem), file) for number, file in enumerate(segments, 1)])
    elif path.is_dir():
        known = _known(path, path, key, heads)
        chains: dict[str, list[Part]] = {}
        for file in sorted(path.glob("*/*.jsonl")):
            if (named := Part.named(file)) is not None:
                chains.setdefault(named[0], []).append(named[1])
        for uid in sorted(chains):
            Walk(report, known, uid).run(sorted(chains[uid]))
        for uid, head in (known.heads or {}).items():
            if uid not in chains and head.head not in known.removed:
                report.findings.append(Finding(str(path), 0, f"has no ledger of the pod {uid}, whose line {head.count} was countersigned"))
        if not chains:
            raise ConfigError("", f"{path} holds no ledger")
    elif _is_issuance_log(path):
        _verify_issuances(report, path)
    else:
        named = Part.named(path)
        uid, part = named if named is not None and not _SEGMENT.fullmatch(path.name) else ("", Part(1, 1, path))
        known = _known(path.parent, path.parent.parent, key, heads)
        siblings = [each[1] for file in path.parent.glob(f"*.{uid}.jsonl") if uid and (each := Part.named(file))]
        Walk(report, known, uid, is_last=part.number >= max((each.number for each in siblings), default=0),
              is_own=bool(_SEGMENT.fullmatch(path.name))).run([part])


def _known(folder: Path, parent: Path, key: str | None, heads: str | None) -> Known:
    def beside(name: str) -> Path | None:
        return next((each / name for each in (folder, parent) if (each / name).exists()), None)

    key_file = Path(key) if key is not None else beside(PUBLIC)
    heads_file = Path(heads) if heads is not None else beside(HEADS)
    if heads_file is not None and not heads_file.exists():
        raise ConfigError("", f"there is no {heads_file}")
    removed = {each.head: each.why for each_folder in (folder, parent) for each in read_removed(each_folder)}
    return Known(
        load_keys(key_file.read_bytes(), str(key_file)) if key_file is not None else None,
        read_heads(heads_file) if heads_file is not None else None, removed,
    )


def _is_issuance_log(path: Path) -> bool:
    """By its first line; one that cannot be read is a ledger's, if its name says so."""
    with path.open("rb") as file:
        line = file.readline(1 << 20)
    try:
        msgspec.json.decode(line, type=issuance.Entry)
        return True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return path.suffix != ".jsonl"


def _verify_issuances(report: Report, path: Path) -> None:
    lines, head = read_lines(path), FIRST
    report.files += 1
    for index, line in enumerate(lines):
        try:
            (_, head), = follow([line], issuance.Entry, head=head, first=index + 1)
        except Broken as exc:
            found = explain(lines, index, head, None) if isinstance(exc, Unlinked) else exc
            report.findings.append(Finding(str(path), found.line, found.cause))
            return
        report.lines += 1
    report.findings.append(Finding(
        str(path), 0, f"ends with the hash {head}; `bartizan certs verify --head` compares it with one kept elsewhere", is_sound=True))


# -- the command

WHAT = "find the first line of evidence that was edited, removed or reordered, a tail that was cut, a chain that was rebuilt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a store, a file of it, a sidecar's own ledger, or an issuance log")
    parser.add_argument("--key", metavar="PEM", help="the control plane's public keys (default: countersign.pem beside the store)")
    parser.add_argument("--heads", metavar="JSON", help="heads.json as it was kept elsewhere (default: the one beside the store)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")


def run(args: Any) -> int:
    """Exit status: 0 sound, 1 not, 2 it could not be looked at."""
    try:
        report = verify(args.files, args.key, args.heads)
    except ConfigError as exc:
        print(f"bartizan: {exc}", file=sys.stderr)
        return 2
    if args.output == "json":
        data = msgspec.to_builtins(report) | {"isSound": report.is_sound}
        print(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())
    else:
        print(as_text(report), end="")
    return 0 if report.is_sound else 1


def as_text(report: Report) -> str:
    """Findings first that are to blame. Nothing of a file's content reaches the terminal unescaped."""
    found = sorted(report.findings, key=lambda finding: finding.is_sound)
    lines = [f"{'note ' if each.is_sound else 'WRONG'}  {plain(str(each))}" for each in found]
    lines.append(
        f"{'sound' if report.is_sound else 'NOT SOUND'}: {report.files} files, {report.lines} lines, {report.countersigned} countersigned, "
        f"{report.shed} shed, {report.clock_jumps} clock jumps"
    )
    return "\n".join(lines) + "\n"
