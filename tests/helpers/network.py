"""Rules under which NetworkPolicies isolate the pod."""

from msgspec.structs import replace

from sidecar.model.network import Block, Isolation, NetworkRule, PortRange
from sidecar.model.service import Endpoint
from sidecar.policy.rules import Rules

POLICY = "shop/narrow"
NAMED = f"networkpolicy/{POLICY}"       # the rule that refuses


def isolation(*listed: Endpoint | str, port: int | None = None, approves: bool = False) -> Isolation:
    """One policy that lists these: pods as they prove themselves, blocks as `CIDR` or `CIDR!EXCEPTED`."""
    blocks = (text.split("!") for text in listed if isinstance(text, str))
    rule = NetworkRule(
        POLICY, blocks=tuple(Block(cidr, tuple(excepted)) for cidr, *excepted in blocks),
        pods={one.address: one.identity for one in listed if isinstance(one, Endpoint)},
        ports=(PortRange(port, port),) if port is not None else None,
    )
    return Isolation((POLICY,), (rule,), approves=approves)


def leaving(known: Rules, *listed: Endpoint | str, port: int | None = None, approves: bool = False) -> Rules:
    snapshot = known.snapshot
    outbound = replace(snapshot.outbound, isolation=isolation(*listed, port=port, approves=approves))
    return Rules.of(replace(snapshot, outbound=outbound), known.digest)


def entering(known: Rules, *listed: Endpoint | str, port: int | None = None) -> Rules:
    snapshot = known.snapshot
    return Rules.of(replace(snapshot, inbound=replace(snapshot.inbound, isolation=isolation(*listed, port=port))), known.digest)
