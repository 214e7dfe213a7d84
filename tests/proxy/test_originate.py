"""TLS contexts by their settings. Connections: tests/proxy/test_egress.py."""

from msgspec.structs import replace

from sidecar.model.egress import EgressHost, Origination, Outbound
from sidecar.net.watched import Watched
from sidecar.policy.rules import Rules
from sidecar.proxy.originate import Originator
from tests.helpers.leave import FakeResolver
from tests.helpers.runtime import rules


def naming(*settings: Origination) -> Rules:
    return rules(outbound=Outbound(hosts=tuple(EgressHost(f"h{i}.example", "r", tls=one) for i, one in enumerate(settings))))


async def test_a_context_lasts_as_long_as_its_settings_are_named() -> None:
    one, other = Origination(), Origination(min_version="1.3")
    current: Watched[Rules | None] = Watched(naming(one, other))
    originator = Originator(current, FakeResolver())
    first = originator.context(one, is_http2=False)
    assert originator.context(replace(one, port=443), is_http2=False) is first, "equal settings"
    assert originator.context(one, is_http2=True) is not first
    current.set(naming(one))
    assert originator.context(one, is_http2=False) is first, "a snapshot that changes something else keeps it, and its connections"
    current.set(naming(other))
    current.set(naming(one))
    originator.context(other, is_http2=False)
    current.set(naming(other))
    assert originator.context(one, is_http2=False) is not first, "it was named no longer in between"
