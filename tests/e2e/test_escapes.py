"""Attempts to get data past the sidecar, each made twice: by a pod without one, to show that the attempt is a real one, and by a pod
that has one. What counts is what the wires saw: a frame to the attempt's own address, or one that holds its marker.

IPv4 and IPv6 alike. What reaches the sidecar is in the ledger, with host, address, port and identity. Datagrams, pings and what is bound
to a device are refused by the kernel, which tells nobody but the application.
"""

import copy
import hashlib
import inspect
import ipaddress
import json
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
import trio

from injector.demo import settings
from injector.demo.checks.mesh import WEB
from injector.demo.network import CLUSTER_DNS, DNS_LINK
from injector.demo.outside import HOSTS
from injector.demo.world import World, json_lines
from sidecar.model import ports
from tests.helpers import escapes
from tests.helpers.demo_world import play
from tests.helpers.escapes import APPROVED, WILD
from tests.helpers.netns import ETH_P_ALL

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

SETTLE_S = 0.5
EGRESS = "bartizan.dev/egress"
API = HOSTS[APPROVED].addresses.ipv4
OPTIONAL = ("multipath", "UDP-Lite")     # protocols that a kernel may be built without
ABSENT = ("Protocol not supported", "Address family not supported")     # by the kernel that this runs on


@dataclass(frozen=True)
class Attempt:
    """
    Args:
        address: where it is sent, or the name that leads there.
        seen: the address, perhaps with a port, that must not be on the wire; empty: only the marker tells.
        is_told: the sidecar sees it, and writes it down.
    """

    id: str
    way: str
    address: str
    port: int
    seen: str
    is_told: bool = True

    @property
    def marker(self) -> str:
        return "esc" + hashlib.sha256(self.id.encode()).hexdigest()[:12]


# Names that are approved, and lead where no external name may.
SPECIAL = {
    f"s{i}.partner.example": address for i, address in enumerate((
        "169.254.169.254", "169.254.7.7", "100.64.7.7", "192.168.7.7", "172.16.7.7", "10.99.7.7", DNS_LINK[0], "10.96.7.77",
        "fd00:ec2::254", "fc00::77", "64:ff9b::c633:6407", "2002:c633:6407::1", "240.0.0.77",
    ))
}


def _attempts() -> Iterator[Attempt]:
    number = count(1)

    def row(way: str, family: int, port: int, *, is_told: bool = True) -> Attempt:
        n = next(number)
        address = f"198.51.100.{n}" if family == 4 else f"2001:db8:66::{n:x}"
        return Attempt(f"{way}, port {port}, IPv{family}", way, address, port, address, is_told)

    for family in (4, 6):
        for way in ("approved Host", "approved :authority"):
            yield row(way, family, 80, is_told=False)       # it reaches the approved host, and nobody else
        for way in ("approved SNI", "approved SNI in pieces"):
            yield row(way, family, 443, is_told=False)
        for way, port in (
            ("approved Host, unapproved port", 8080), ("approved Host", 8081), ("approved SNI", 8443), ("approved SNI", 22),
            ("address as Host", 80), ("address as Host", 8080), ("unapproved Host", 80), ("unapproved :authority", 80), ("raw bytes", 4444),
            ("raw bytes", 80), ("raw bytes", 443), ("banner", 22), ("silent", 25), ("TLS without a name", 443), ("unapproved SNI", 443),
            ("unapproved SNI", 853), ("unapproved SNI in pieces", 443), ("SNI with a dot", 443), ("SNI in capitals", 443),
            ("two names", 443), ("CONNECT", 80), ("CONNECT away", 3128), ("SOCKS", 1080), ("WebSocket", 80), ("h2c upgrade", 80),
            ("multipath", 4445),
            ("fast open", 4446), ("data as Host", 80), ("data as SNI", 443),
        ):
            yield row(way, family, port)
        yield row("bound to a device", family, 4447, is_told=False)
        for way, port in (("UDP", 443), ("UDP", 4000), ("connected UDP", 51820), ("UDP bound to a device", 53), ("UDP-Lite", 4001),
                          ("ping", 0)):
            yield row(way, family, port, is_told=False)
        for way, port in (("DNS", 53), ("DNS TXT", 53), ("DNS NULL", 53), ("DNS HTTPS", 53), ("DNS by TCP", 53),
                          ("data as DNS", 53), ("odd letters as DNS", 53)):
            yield row(way, family, port, is_told=False)     # the guard answers; see test_names
    for way in escapes.WAYS:
        if way.startswith(("Host ", "absolute form")):
            yield row(way, 4, 80)
    yield row("mapped", 4, 80)
    yield Attempt("metadata by address", "address as Host", "169.254.170.2", 80, "169.254.170.2")
    yield Attempt("metadata by an approved Host", "approved Host", "169.254.170.3", 80, "169.254.170.3", is_told=False)
    yield Attempt("metadata by address, IPv6", "address as Host", "fd00:ec2::23", 80, "fd00:ec2::23")
    for port in (22, 25, 8080):
        yield Attempt(f"approved address, port {port}", "raw bytes", API, port, f"{API}:{port}")
    yield Attempt("plain HTTP to the port of TLS", "approved Host", API, 443, "")
    yield Attempt("broadcast", "broadcast", "255.255.255.255", 4002, "255.255.255.255", is_told=False)
    for address, port in (("239.7.7.7", 4003), ("224.0.0.251", 5353), ("ff02::7777", 4003), ("ff02::fb", 5353)):
        yield Attempt(f"group {address}", "group", address, port, address, is_told=False)
    yield Attempt("DNS of the cluster", "DNS", CLUSTER_DNS, 53, "", is_told=False)
    yield Attempt("DNS TXT of the cluster", "DNS TXT", CLUSTER_DNS, 53, "", is_told=False)
    yield Attempt("the resolver", "resolver", "", 0, "", is_told=False)
    for name, address in SPECIAL.items():
        yield Attempt(f"a name for {address}", "named", name, 80, address)
        yield Attempt(f"a name for {address}, by TLS", "named by TLS", name, 443, address)


ATTEMPTS = tuple(_attempts())


class Tap:
    """What comes out of one pod."""

    def __init__(self, address: str) -> None:
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._sock.bind((f"v{address.rpartition('.')[2]}", ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)   # SO_RCVBUFFORCE: nothing is lost

    def packets(self) -> list[bytes]:
        found = []
        while select.select([self._sock], [], [], 0)[0]:
            frame, (_, _, kind, *_) = self._sock.recvfrom(65535)
            if kind != socket.PACKET_OUTGOING and frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
                found.append(frame[14:])
        return found


def _destinations(packet: bytes) -> tuple[str, str]:
    """The address alone, and with its port."""
    end = 20 if packet[0] >> 4 == 4 else 40
    address = str(ipaddress.ip_address(packet[end - (4 if end == 20 else 16):end]))
    return address, f"{address}:{int.from_bytes(packet[end + 2:end + 4], 'big')}"


def _escaped(attempts: tuple[Attempt, ...], packets: list[bytes]) -> list[str]:
    """The attempts of which the wire shows something."""
    went = {text for packet in packets for text in _destinations(packet)}
    whole = b"\n".join(packets)
    return [attempt.id for attempt in attempts if (attempt.seen and attempt.seen in went) or attempt.marker.encode() in whole]


@contextmanager
def _named(world: World) -> Iterator[None]:
    """The special names are known, and approved for web; and whatever stands below one name."""
    hosts = [*SPECIAL, f"*.{WILD}"]
    policy, web = (copy.deepcopy(world.api.get(*key)) for key in (("EgressPolicy", "", "partners"), ("Deployment", "shop", "web")))
    assert policy is not None
    assert web is not None
    policy["spec"]["hosts"] += [{"host": name} for name in hosts]
    asked = web["spec"]["template"]["metadata"]["annotations"][EGRESS] + "".join(f"- {{host: '{name}'}}\n" for name in hosts)
    web["metadata"].setdefault("annotations", {})[EGRESS] = asked
    for item in (policy, web):
        world.api.store(item)
    world.name({name: [address] for name, address in SPECIAL.items()})
    yield


async def _make(world: World, pod: str, attempts: Sequence[Attempt]) -> dict[str, str]:
    asked = json.dumps([(one.id, one.way, one.address, one.port, one.marker) for one in attempts])
    done = await world.run(pod, world.python[0], "-c", inspect.getsource(escapes), asked, within_s=60)
    assert done.status == 0, done.err.decode()
    return dict(json.loads(done.out))


async def _until_known(world: World, count: int) -> None:
    """The sidecar of web knows of so many hosts."""
    with trio.fail_after(10):
        while len(json.loads(await world.admin("web", "GET", "/snapshot"))["outbound"].get("hosts", ())) != count:  # noqa: ASYNC110
            await trio.sleep(0.05)


async def matrix(world: World) -> dict[str, Any]:
    approved = len(json.loads(await world.admin("web", "GET", "/snapshot"))["outbound"]["hosts"])
    seen: dict[str, Any] = {}

    async def attempt(pod: str) -> None:
        tap = Tap(world.address(pod))
        fates = await _make(world, pod, ATTEMPTS)
        await trio.sleep(SETTLE_S)
        seen[pod] = {"fates": fates, "escaped": _escaped(ATTEMPTS, tap.packets())}

    with _named(world):
        await _until_known(world, approved + len(SPECIAL) + 1)
        async with trio.open_nursery() as nursery:
            for pod in ("legacy", "web"):
                nursery.start_soon(attempt, pod)
    seen["unusable"] = await _unusable(world)
    seen["names"] = [line["name"] for line in json_lines(settings.DNS_EVIDENCE)
                     if line["client"] in world.kubelet.pod("web").addresses.both()]
    seen["relayed"] = await _relay(world)
    seen["withdrawn"] = await _withdraw(world)
    shipped = settings.STATE.glob(f"ledger/*/*.{world.kubelet.pod('web').uid}.jsonl")
    lines = [*world.ledger("web"), *(line for path in shipped for line in json_lines(path))]
    seen["ledger"] = [line for line in lines if line["kind"] == "refusal"]
    return seen


@dataclass(frozen=True)
class Unusable:
    """What is written of a host, that nobody could keep to.

    Args:
        entry, asked: besides the name.
        holds: the keys of the Secret that is asked for.
        status, code: what the application is told.
    """

    entry: dict[str, Any]
    asked: dict[str, Any]
    holds: tuple[str, ...]
    status: int
    code: str


NO_PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
MUTUAL = {"tls": {"mode": "mutual"}}
UNUSABLE = {
    "nothing is wrong": Unusable({}, {}, (), 503, "BZ0401"),        # nobody is there; it shows that the wire is watched
    "no secret": Unusable({}, MUTUAL, (), 503, "BZ0203"),
    "no key": Unusable({}, MUTUAL, ("tls.crt",), 503, "BZ0203"),
    "no chain": Unusable({}, MUTUAL, ("tls.key",), 503, "BZ0203"),
    "neither is one": Unusable({}, MUTUAL, ("tls.crt", "tls.key"), 503, "BZ0203"),
    "no CA": Unusable({"caBundle": NO_PEM}, {}, (), 503, "BZ0205"),
    "an unknown field is asked for": Unusable({}, {"tls": {"verify": False}}, (), 503, "BZ0215"),
    "an unknown field is approved": Unusable({"insecure": True}, {}, (), 403, "BZ0201"),
}


def _written(world: World, names: dict[str, Unusable], subjects: Any) -> None:
    """None of it has passed admission."""
    web = copy.deepcopy(world.api.get("Deployment", "shop", "web"))
    assert web is not None
    asked: list[dict[str, Any]] = []
    for name, one in names.items():
        asked.append({"host": name, **one.asked})
        if one.asked is MUTUAL:
            asked[-1]["tls"] = {"mode": "mutual", "clientCertificate": {"secret": name}}
        world.api.store({"apiVersion": "bartizan.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": name},
                         "spec": {"subjects": subjects, "hosts": [{"host": name, **one.entry}]}})
        if one.holds:
            world.api.store({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"},
                             "stringData": dict.fromkeys(one.holds, NO_PEM)})
    web["metadata"].setdefault("annotations", {})[EGRESS] = json.dumps(asked)
    world.api.store(web)


async def _unusable(world: World) -> dict[str, Any]:
    """What the application was told, and what the wire saw."""
    before, policy = (copy.deepcopy(world.api.get(*key)) for key in (("Deployment", "shop", "web"), ("EgressPolicy", "", "partners")))
    assert before is not None
    assert policy is not None
    names = {f"u{i}.partner.example": one for i, one in enumerate(UNUSABLE.values())}
    addresses = {name: f"198.51.100.{230 + i}" for i, name in enumerate(names)}
    world.name({name: [address] for name, address in addresses.items()})
    _written(world, names, policy["spec"]["subjects"])
    await _until_known(world, len(names) - 1)       # an approval with an unknown field is not in force
    tap, told = Tap(world.address("web")), {}
    for name, address in addresses.items():
        told[name] = await world.ask("web", "http", "GET", f"http://{name}/{name}", "--to", f"{address}:80")
    await trio.sleep(SETTLE_S)
    packets = tap.packets()
    world.api.store(before)
    went = [to for packet in packets for to in _destinations(packet)]
    return {case: {"told": told[name], "went": [to for to in went if to.startswith(addresses[name])],
                   "is_marked": any(b"/" + name.encode() in packet for packet in packets)}
            for case, name in zip(UNUSABLE, names, strict=True)}


async def _relay(world: World) -> dict[str, list[str]]:
    """Others, and the application itself, speak to the sidecar's own ports; what goes out of the pod of theirs."""
    own = world.kubelet.pod("web").addresses
    found = {}
    for pod, addresses in (("legacy", own.both()), ("web", (*own.both(), "127.0.0.1", "::1"))):
        tap = Tap(world.address("web"))
        attempts = [
            Attempt(f"{way} to [{address}]:{port}", way, address, port, "")
            for way in ("unapproved Host", "unapproved SNI", "CONNECT", "raw bytes", "DNS by TCP")
            for address in addresses for port in sorted(ports.OWN)
        ]
        await _make(world, pod, attempts)
        await trio.sleep(SETTLE_S)
        found[pod] = _escaped(tuple(attempts), tap.packets())
    return found


async def _withdraw(world: World) -> dict[str, Any]:
    """An approval is taken back while connections that rest on it are in use."""
    attempts = [Attempt(f"in use, port {port}", "until cut", API, port, "") for port in (80, 443)]
    fates: dict[str, str] = {}
    began = time.time()
    policy = copy.deepcopy(world.api.get("EgressPolicy", "", "partners"))
    assert policy is not None

    async def use() -> None:
        fates.update(await _make(world, "web", attempts))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        with trio.fail_after(10):
            while not all(str(world.arrivals(APPROVED, began)).count(attempt.marker) > 5 for attempt in attempts):  # noqa: ASYNC110
                await trio.sleep(0.05)
        policy["spec"]["hosts"] = [host for host in policy["spec"]["hosts"] if host["host"] != APPROVED]
        world.api.store(policy)
        at = time.time()
    left = [item for item in world.arrivals(APPROVED, at + 5) if item["event"] in ("request", "connect")]
    return {"at": at, "fates": fates, "left": left}


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    return play(matrix)


def test_there_are_enough_of_them() -> None:
    assert len(ATTEMPTS) >= 60
    assert len({attempt.marker for attempt in ATTEMPTS}) == len(ATTEMPTS)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.id)
def test_it_fails_with_a_sidecar_and_succeeds_without(attempt: Attempt, seen: dict[str, Any]) -> None:
    fate = seen["web"]["fates"][attempt.id]
    assert attempt.id not in seen["web"]["escaped"], fate
    without = seen["legacy"]["fates"][attempt.id]
    if attempt.way in OPTIONAL and any(text in without for text in ABSENT):
        pytest.skip(f"this kernel cannot even try: {without}")
    assert attempt.id in seen["legacy"]["escaped"], f"the attempt proves nothing: {without}"


@pytest.mark.parametrize("attempt", [one for one in ATTEMPTS if one.is_told], ids=lambda attempt: attempt.id)
def test_it_is_written_down(attempt: Attempt, seen: dict[str, Any]) -> None:
    """With the address that was dialled, or the name, and who dialled it."""
    address = attempt.address
    wanted = f"[{address}]:{attempt.port}" if ":" in address else f"{address}:{attempt.port}"
    lines = [line for line in seen["ledger"] if line.get("dst") == wanted or line.get("host") == address]
    assert lines, seen["web"]["fates"][attempt.id]
    assert {line["local"] for line in lines} == {WEB}
    assert any(line["code"] and line.get("dst") for line in lines)


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_nobody_could_keep_to_closes_the_host_and_sends_nothing(case: str, seen: dict[str, Any]) -> None:
    wanted, found = UNUSABLE[case], seen["unusable"][case]
    assert found["told"]["status"] == wanted.status, found
    assert wanted.code in str(found["told"]), found
    assert not found["is_marked"]
    assert bool(found["went"]) is (case == "nothing is wrong"), found


def test_names(seen: dict[str, Any]) -> None:
    """Nothing is asked of the name server for an application but what is approved, and what is in the cluster."""
    assert not [name for name in seen["names"] if not name.endswith((".partner.example", ".cluster.local"))]


def test_nobody_gets_out_through_the_sidecars_own_ports(seen: dict[str, Any]) -> None:
    assert seen["relayed"] == {"legacy": [], "web": []}


@pytest.mark.parametrize("port", [80, 443])
def test_an_approval_that_is_taken_back_ends_what_rests_on_it(port: int, seen: dict[str, Any]) -> None:
    """Originated and passed through, in use and kept."""
    withdrawn = seen["withdrawn"]
    asked, ended = withdrawn["fates"][f"in use, port {port}"].split()
    assert int(asked) > 5
    assert 0 < float(ended) - withdrawn["at"] < 5
    assert withdrawn["left"] == []
