"""What a single text can have wrong with it, wherever it stands in a document."""

import ipaddress
import re
from collections.abc import Iterator

from injector.documents.text import seconds
from sidecar.model.address import is_address
from sidecar.model.errors import ConfigError
from sidecar.policy.pattern import Expression

Complaint = tuple[str, str]     # path inside the value, what is wrong and the cure

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST = re.compile(rf"(\*\.)?(?:{_LABEL}\.)*[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?", re.ASCII)

_WITH_PORT = re.compile(r"[a-z0-9.*_-]+:[0-9]+", re.ASCII)


def pattern_problems(path: str, expression: str) -> Iterator[Complaint]:
    try:
        Expression(expression, path)
    except ConfigError as exc:
        yield path, exc.problem


def duration_problems(path: str, text: str | None, most: str = "24h", least: str = "1ms") -> Iterator[Complaint]:
    if text is None:
        return
    if seconds(text) == 0:
        yield path, f"{text} is no time at all; leave {path.rpartition('.')[2]} out if you want none"
    elif seconds(text) > seconds(most):
        yield path, f"{text} is longer than {most}, which is the most"
    elif seconds(text) < seconds(least):
        yield path, f"{text} is shorter than {least}, which is the least"


def host_problems(path: str, host: str) -> Iterator[Complaint]:
    if is_address(host):
        yield path, f"{host!r} is an address, not a name; write `cidr: {host}/{128 if ':' in host else 32}`"
    elif host != host.lower():
        yield path, f"{host!r}: write names in lower case"
    elif "://" in host or "/" in host:
        yield path, f"{host!r}: write the name alone, without scheme and path"
    elif _WITH_PORT.fullmatch(host):
        yield path, f"{host[:100]!r}: write the name alone; which ports, says `ports`"
    elif host.endswith("."):
        yield path, f"{host!r}: write the name without the dot at its end"
    elif len(host) > 253 or not HOST.fullmatch(host):
        yield path, f"{host[:100]!r} is no host name; a wildcard is one star for whole labels at the front: *.example.com"
    elif host.startswith("*.") and host.count(".") < 2:
        yield path, f"{host!r} would be a whole top-level domain; name at least *.example.com"


def network_problems(path: str, text: str) -> Iterator[Complaint]:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            yield path, f"{text!r} has bits set behind its prefix; did you mean {ipaddress.ip_network(text, strict=False)}?"
        except ValueError:
            yield path, f"{text[:100]!r} is no range of addresses; write 203.0.113.0/24 or 2001:db8::/32"


def below(base: str, complaints: Iterator[Complaint]) -> Iterator[Complaint]:
    for path, problem in complaints:
        yield f"{base}.{path}" if path else base, problem


def repeated(base: str, field: str, names: list[str]) -> Iterator[Complaint]:
    for i, name in enumerate(names):
        if name in names[:i]:
            yield f"{base}[{i}].{field}", f"{name!r} is there twice; remove one"
