"""The packet rules that lead everything a pod sends and receives through its sidecar, as data; `main` is `bartizan intercept`.

An init container with NET_ADMIN and nothing else loads them, for IPv4 and IPv6 alike. If anything goes wrong, the pod does not
start.

Trust: the application is hostile, without capabilities, and shares the network namespace. nat sees only the first packet of a
flow, so it leads and does not guard: a socket bound to the port of an older flow rides that flow's entry. So that neither of the
sidecar's and the application's DNS queries ever rides the other's, the sidecar's have no entry. The filter rules guard; they look at
every packet and know no ESTABLISHED. What passes them without being the sidecar's:
  - what is for the pod itself (addrtype LOCAL, never `-o lo`: a redirected packet still shows its old interface in OUTPUT);
  - packets without an owner, UDP excepted: the rest of a connection that the sidecar closed, resets, ICMP errors, neighbour
    discovery, MTU discovery, multicast membership reports. A filter on "not the sidecar" would lose all of them;
  - what a MeshPolicy lets pass (model/passage.py): of an excluded inbound port the replies alone, and never TCP or UDP to port 53.
The sidecar can read no rules. It tests them: two canary addresses (model/ports.py) for which it gives up its exemption from one
table each. control/redirect_check.py asks; tests/e2e/interception deletes each rule and attacks the whole.
"""

import argparse
import os
import re
import subprocess  # noqa: TID251 -- the one program that the data plane runs, before anything else of it does
import sys
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from .model import ports
from .model.errors import ConfigError, MeshError
from .model.passage import NOTHING, OPTIONS, Passage
from .model.ports import Family

PREFIX = "bartizan: "  # in the comment: how we know our own rules from everybody else's

# Why each rule is there: its comment, and its name in the sidecar's verdict.
INBOUND = "what enters goes to the sidecar"
NAT_EXEMPTION = "the sidecar is not redirected"
DNS_UNTRACKED = "no flow of the application's leads the sidecar's DNS queries, nor one of theirs its own"
ANSWERS_UNTRACKED = "answers to the sidecar's DNS queries are no flow"
DNS_REDIRECT = "DNS queries go to the guard"
TCP_REDIRECT = "TCP connections go to the sidecar"
SENDING_EXEMPTION = "the sidecar may send"
SENDING_GUARD = "nobody but the sidecar sends"
KERNEL_UDP_GUARD = "UDP of the kernel's own sockets (AF_RXRPC) has no owner"
LOCAL_GUARD = "what is for this pod stays in it, whatever interface a socket is bound to"
PASSED = "a MeshPolicy lets it pass: "   # and what: no test of the sidecar's needs these rules; without them less passes


class InterceptionFailed(MeshError):
    """The rules could not be loaded; says the cause and the cure."""


class Uids(NamedTuple):
    """A range of user IDs of this user namespace, both ends included."""

    first: int
    last: int


class Line(NamedTuple):
    """One rule as `iptables-save` writes it, without `-A CHAIN`."""

    table: str
    chain: str
    spec: str


class Exemption(msgspec.Struct, frozen=True):
    """How the rules know the sidecar's packets: by the UID that its sockets were made with, or by a mark that it sets.

    The mark must be on listening sockets too: it is theirs that a SYN-ACK carries.
    """

    kind: Literal["uid", "mark"]
    value: int

    @property
    def match(self) -> str:
        return f"-m owner --uid-owner {self.value}" if self.kind == "uid" else f"-m mark --mark {self.value:#x}"


def rules(family: Family, exemption: Exemption, uids: Sequence[Uids], passage: Passage = NOTHING) -> tuple[Line, ...]:
    """All rules of one family, in order.

    Args:
        uids: every user ID of the user namespace. A range for each line of its map: the kernel compares its own IDs, and across
            lines of the map their order may be another.
        passage: what passes the sidecar by.
    """
    nat_canary, filter_canary = f"! -d {ports.NAT_CANARY[family]}", f"! -d {ports.FILTER_CANARY[family]}"
    elsewhere, unicast = "-m addrtype ! --dst-type LOCAL", "-m addrtype --dst-type UNICAST"     # canaries are multicast
    ownerless = " ".join(f"-m owner ! --uid-owner {first}-{last}" for first, last in uids)

    def line(table: str, chain: str, match: str, why: str, target: str) -> Line:
        return Line(table, chain, f'{match} -m comment --comment "{PREFIX}{why}" -j {target}')

    # Of one family's networks; ports are of both. A connection is excluded twice: it is not redirected, and it may be sent.
    datagrams = [(f"-d {network} -p udp --dport {port} {elsewhere}", f"UDP to {network} port {port}")
                 for network, port in passage.datagrams if network.version == family]
    excluded = [(f"-p tcp --dport {port} {elsewhere}", f"TCP to port {port}") for port in passage.outbound_ports]
    excluded += [(f"-d {network} -p tcp ! --dport {ports.NAME_SERVER} {elsewhere}", f"TCP to {network}")
                 for network in passage.outbound_networks if network.version == family]
    # Not the SYN: from an excluded port the application may answer, and not set out.
    replies = [(f"-p tcp --sport {port} ! --syn {elsewhere}", f"replies from port {port}") for port in passage.inbound_ports]

    return (
        line("filter", "OUTPUT", f"{filter_canary} {exemption.match}", SENDING_EXEMPTION, "ACCEPT"),
        *(line("filter", "OUTPUT", match, PASSED + what, "ACCEPT") for match, what in (*datagrams, *excluded, *replies)),
        *(line("filter", "OUTPUT", f"-m owner --uid-owner {first}-{last} {elsewhere}", SENDING_GUARD, "REJECT")
          for first, last in uids),
        line("filter", "OUTPUT", f"-p udp {ownerless} {elsewhere}", KERNEL_UDP_GUARD, "REJECT"),
        line("mangle", "POSTROUTING", "! -o lo -m addrtype --dst-type LOCAL", LOCAL_GUARD, "DROP"),
        line("raw", "PREROUTING", f"! -i lo -p udp --sport {ports.NAME_SERVER}", ANSWERS_UNTRACKED, "CT --notrack"),
        line("raw", "OUTPUT", f"{nat_canary} -p udp --dport {ports.NAME_SERVER} {exemption.match} {unicast}", DNS_UNTRACKED,
             "CT --notrack"),
        *(line("nat", "PREROUTING", f"-p tcp --dport {port}", f"{PASSED}TCP into port {port}", "RETURN")
          for port in passage.inbound_ports),
        line("nat", "PREROUTING", "-p tcp", INBOUND, f"REDIRECT --to-ports {ports.INBOUND}"),
        line("nat", "OUTPUT", f"{nat_canary} {exemption.match}", NAT_EXEMPTION, "RETURN"),
        line("nat", "OUTPUT", f"-p udp --dport {ports.NAME_SERVER} {elsewhere}", DNS_REDIRECT, f"REDIRECT --to-ports {ports.DNS}"),
        *(line("nat", "OUTPUT", match, f"{PASSED}{what}, not redirected", "RETURN") for match, what in excluded),
        line("nat", "OUTPUT", f"-p tcp {elsewhere}", TCP_REDIRECT, f"REDIRECT --to-ports {ports.OUTBOUND}"),
    )


def own_lines(saved: str) -> tuple[Line, ...]:
    """Our rules in the output of `iptables-save`."""
    found, table = [], ""
    for text in saved.splitlines():
        if text.startswith("*"):
            table = text[1:]
        elif f'--comment "{PREFIX}' in text and (rule := re.fullmatch(r"-A (\S+) (.*)", text)):
            found.append(Line(table, rule[1], rule[2]))
    return tuple(found)


def restore_text(saved: str, wanted: Iterable[Line]) -> str:
    """Input for `iptables-restore --noflush` after which `wanted` are our rules, first in their chains, and foreign rules stay.

    Each table changes at once: there is no moment at which it holds neither the former rules nor the new ones.

    Args:
        saved: what `iptables-save` says now.
    """
    former, wanted = own_lines(saved), tuple(wanted)
    text = []
    for table in dict.fromkeys(line.table for line in (*wanted, *former)):
        text.append(f"*{table}")
        text += [f"-D {line.chain} {line.spec}" for line in former if line.table == table]
        place: dict[str, int] = {}
        for line in wanted:
            if line.table == table:
                place[line.chain] = place.get(line.chain, 0) + 1
                text.append(f"-I {line.chain} {place[line.chain]} {line.spec}")
        text.append("COMMIT")
    return "".join(f"{line}\n" for line in text)


def uid_ranges(uid_map: str) -> tuple[Uids, ...]:
    """What `/proc/self/uid_map` maps: lines of first ID inside, first ID outside, count."""
    rows = (tuple(map(int, line.split())) for line in uid_map.splitlines())
    return tuple(Uids(inside, inside + count - 1) for inside, _, count in rows)


def checked_exemption(uid: int | None, mark: int | None, uids: Sequence[Uids]) -> Exemption:
    """Exactly one of `uid` and `mark` is given. InterceptionFailed if it cannot serve."""
    if mark is not None:
        if not 0 < mark < 1 << 32:
            raise InterceptionFailed(f"--exempt-mark {mark}: a mark is 1 to 0xffffffff")
        return Exemption("mark", mark)
    assert uid is not None
    if not 0 < uid < 1 << 16:
        raise InterceptionFailed(f"--exempt-uid {uid}: the sidecar needs a UID of its own, from 1 to 65535: root is not, and "
                                 "higher ones do not exist in a pod with its own user namespace")
    if not any(first <= uid <= last for first, last in uids):
        raise InterceptionFailed(f"--exempt-uid {uid}: this user namespace does not map it; map it, or use --exempt-mark")
    return Exemption("uid", uid)


def main(argv: Sequence[str]) -> int:
    """Load the rules, or say in one line why not; then nothing has changed."""
    parser = argparse.ArgumentParser(prog="bartizan intercept", description="Lead this network namespace through its sidecar.")
    by = parser.add_mutually_exclusive_group(required=True)
    by.add_argument("--exempt-uid", type=int, metavar="N", help="the sidecar runs as this UID")
    by.add_argument("--exempt-mark", type=lambda text: int(text, 0), metavar="M", help="the sidecar marks its packets with this")
    for option, (value, meaning) in OPTIONS.items():
        parser.add_argument(option, action="append", default=[], metavar=value, help=f"{meaning}; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="print what would be loaded")
    args = parser.parse_args(argv)
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as file:
            uids = uid_ranges(file.read())
        exemption = checked_exemption(args.exempt_uid, args.exempt_mark, uids)
        # A family is left out only if the kernel does not have it; one that is merely unused today may be used tomorrow.
        families: tuple[Family, ...] = (4, 6) if os.path.exists("/proc/net/if_inet6") else (4,)
        passage = Passage.of([word for option in OPTIONS for value in vars(args)[option[2:].replace("-", "_")] for word in (option, value)])
        wanted = {family: rules(family, exemption, uids, passage) for family in families}
        if args.dry_run:
            for family, lines in wanted.items():
                print(f"# {_PROGRAM[family]}-restore --noflush\n{restore_text('', lines)}", end="")
        else:
            _load(wanted)
    except (InterceptionFailed, ConfigError) as exc:
        print(f"bartizan intercept: {exc}", file=sys.stderr)
        return 1
    return 0


_PROGRAM: dict[Family, str] = {4: "iptables", 6: "ip6tables"}


def _load(wanted: dict[Family, tuple[Line, ...]]) -> None:
    """Load both families, or put everything back as it was: `iptables-restore` is atomic for one table only."""
    before: dict[Family, tuple[Line, ...]] = {}
    try:
        for family, lines in wanted.items():
            saved = _run(f"{_PROGRAM[family]}-save")
            before[family] = own_lines(saved)
            _restore(family, restore_text(saved, lines))
    except InterceptionFailed as exc:
        try:
            for family, lines in before.items():
                _restore(family, restore_text(_run(f"{_PROGRAM[family]}-save"), lines))
        except InterceptionFailed as also:
            raise InterceptionFailed(f"{exc}; the rules before could not be put back ({also}): delete this pod") from exc
        raise


def _restore(family: Family, text: str) -> None:
    if text:
        _run(f"{_PROGRAM[family]}-restore", "--noflush", "--wait", "10", text=text)


def _run(*command: str, text: str = "") -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise InterceptionFailed(f"{command[0]} is not installed: use the image of the mesh, or install iptables") from exc
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        cure = "give the container the capability NET_ADMIN" if re.search("[Pp]ermi", said) else \
            "see that the node's kernel has nf_tables with the matches owner, addrtype and comment, and the targets REDIRECT and CT"
        raise InterceptionFailed(f"{command[0]}: {said}: {cure}")
    return done.stdout
