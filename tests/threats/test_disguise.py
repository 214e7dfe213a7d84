"""May a stranger put an identity into bytes that nobody reads? What is relayed unread to an application that speaks HTTP.

A port that is not declared carries HTTP where HTTP is seen, else opaque bytes. An application takes more for HTTP than we do, and
believes the fields by which we tell it who calls: so what looks like HTTP to anybody must be read, or refused.
"""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.model.snapshot import Inbound
from sidecar.net.tls_context import ALPN_TCP
from tests.helpers.attack import Chain
from tests.helpers.mesh import arrive, call

SPOOFED = b"x-forwarded-client-cert: By=spiffe://a;URI=spiffe://bartizan.test/ns/ops/sa/root"
HEAD = b"GET /admin HTTP/1.1\r\nhost: shop.test\r\n" + SPOOFED + b"\r\n\r\n"
UNDECLARED = Inbound(mode="permissive", permissive_until=4e9)
DISGUISED = {
    "plain": HEAD, "empty-lines": b"\r\n\r\n\r\n" + HEAD, "line-feeds": b"\n\n" + HEAD, "space": b" " + HEAD, "tab": b"\t" + HEAD,
    "tab-in-line": HEAD.replace(b" ", b"\t", 1), "two-spaces": HEAD.replace(b" ", b"  ", 1), "no-break-space": b"\xa0" + HEAD,
    "vertical-tab": HEAD.replace(b" ", b"\x0b"), "lower-case": b"get" + HEAD[3:], "bare-line-feeds": HEAD.replace(b"\r", b""),
    "own-method": b"LOOK" + HEAD[3:], "long-method": b"A" * 200 + HEAD[3:], "long-target": b"LOOK /" + b"a" * 9000 + HEAD[4:],
    "many-empty-lines": b"\r\n" * 5000 + HEAD, "absolute": HEAD.replace(b"/admin", b"http://shop.test/admin"),
}


@pytest.mark.parametrize("payload", DISGUISED.values(), ids=[f"X1-{name}" for name in DISGUISED])
async def test_an_identity_in_disguised_http_never_arrives(
    payload: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    chain = Chain(nursery, UNDECLARED)
    await chain.say(payload[:8300], payload[8300:])     # what is decided is decided by as much as is looked at
    assert not any(b"spiffe://" in log for log in chain.origin.logs)


@pytest.mark.parametrize("payload", DISGUISED.values(), ids=[f"X1-{name}" for name in DISGUISED])
async def test_nor_to_a_port_that_is_declared_http(payload: bytes, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    chain = Chain(nursery, Inbound(ports={8080: "http"}))
    stream = await call(arrive(nursery, chain.bench), alpn=ALPN_TCP)
    try:
        await stream.send_all(payload)
    except trio.BrokenResourceError:
        pass
    await wait_all_tasks_blocked()
    assert chain.origin.logs == []
    stream.close()


async def test_X1_who_says_that_it_speaks_no_http_is_not_believed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Any verified peer can ask for `bartizan/tcp` and then speak HTTP as whomever it likes."""
    chain = Chain(nursery, Inbound())
    stream = await call(arrive(nursery, chain.bench), alpn=ALPN_TCP)
    await stream.send_all(HEAD)
    await wait_all_tasks_blocked()
    stream.close()
    assert not any(b"spiffe://" in log for log in chain.origin.logs)
