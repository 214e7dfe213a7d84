"""What an ingress gateway serves: all that Ingresses, Gateways and HTTPRoutes say, read and joined (`edge_join.py`).

What one object says is read once, and again when it changes or anything that was looked up for it. So of 10,000 Ingresses the change of
one costs the reading of one, and a walk over what the others said. Objects of the Gateway API lean on each other: these are read together.
"""

import operator
from collections.abc import Sequence
from types import MappingProxyType

from injector.cluster import Cluster, Ref, ref_of
from injector.cluster.ingress_class import class_of, our_classes
from injector.cluster.objects import Object

from .edge_join import Joined, join
from .edge_rule import annotated
from .gateway_api import GatewayApi, GatewayBook
from .inbound import Keys
from .ingress import read_ingress
from .last_good import LastGood
from .looked import Looked
from .said import Said

NOTHING = GatewayApi({}, {}, {}, ())


class EdgeBook:
    """What objects said, for as long as they say it.

    Args:
        last_good: of their annotations.
    """

    def __init__(self, last_good: LastGood) -> None:
        self._last_good = last_good
        self.said: dict[Ref, Said] = {}         # by Ingresses of ours
        self.gateway_api = NOTHING
        self._known: dict[Ref, tuple[Object, Looked]] = {}
        self._keys: Keys = {}
        self._gateways = GatewayBook(last_good)
        self._joined: tuple[list[Said], Joined] | None = None

    def of(self, cluster: Cluster, keys: Keys) -> Joined:
        if keys != self._keys:
            self._known, self._keys = {}, dict(keys)
        ours, ingresses = our_classes(cluster), cluster.of_kind("Ingress").values()
        self.said = {ref_of(one): self._read(one, cluster) for one in ingresses if class_of(one) in ours}
        self._known = {ref: known for ref, known in self._known.items() if ref in self.said}
        self.gateway_api = self._gateways.of(cluster, keys)
        found = [*self.said.values(), *self.gateway_api.said]
        if self._joined is None or not _are_same(found, self._joined[0]):
            self._joined = found, join(found)
        return self._joined[1]

    def _read(self, one: Object, cluster: Cluster) -> Said:
        """What the Ingress says; as it was read before, if nothing of what it was made of is another."""
        ref = ref_of(one)
        known = self._known.get(ref)
        if known is not None and known[0] is one and known[1].holds_in(cluster):
            return self.said[ref]
        looked = Looked(cluster)
        self._known[ref] = one, looked
        return read_ingress(one, looked, annotated(one, self._last_good, looked, self._keys))


def _are_same(saids: Sequence[Said], before: Sequence[Said]) -> bool:
    return len(saids) == len(before) and all(map(operator.is_, saids, before))


def compile_edge(cluster: Cluster, keys: Keys = MappingProxyType({}), book: EdgeBook | None = None) -> Joined:
    """
    Args:
        keys: of token issuers, as far as they were fetched.
        book: what was read before.
    """
    return (book or EdgeBook(LastGood())).of(cluster, keys)
