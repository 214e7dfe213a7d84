"""What a person is shown of a TLS connection."""

import re

import trio

from sidecar.net.presented import presented
from sidecar.net.tls_context import https_server, origination
from sidecar.net.verify_host import MOST_NAMES_TOLD
from tests.helpers import pki
from tests.helpers.mesh import root
from tests.helpers.tls import shake_hands, tls_pair

CLIENT = pki.issue(root("clients"), subject="shop-web", purposes=[pki.CLIENT])


async def shown(holder: pki.Holder, client: pki.Holder | None = None) -> tuple[dict[str, str], dict[str, str]]:
    """By the client's end and by the server's."""
    roots = pki.pem([root("public").certificate])
    ours = origination(
        min_version="1.2", roots=roots, chain=client.chain_pem if client else None, key=client.key_pem if client else None)
    server = https_server(pki.server_credentials(holder, root("clients") if client else None))
    ends = tls_pair(ours, server)
    with trio.fail_after(5):
        assert await shake_hands(*ends) == (None, None)
    try:
        return presented(ends[0]), presented(ends[1])
    finally:
        for end in ends:
            end.close()


async def test_both_certificates() -> None:
    ours, theirs = await shown(pki.issue(root("public"), pki.host("api.test"), pki.host("192.0.2.1"), subject="api"), CLIENT)
    assert (ours["tls"], ours["server"], ours["names"], ours["issuer"], ours["trusted by"]) == (
        "TLSv1.3", "CN=api", "api.test, 192.0.2.1", "CN=public", "CN=public")
    assert (ours["client"], theirs["server"], theirs["client"]) == ("CN=shop-web", "CN=shop-web", "CN=api")
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", ours[name]) for name in ("expires", "client expires"))


async def test_what_was_not_shown_is_left_out() -> None:
    ours, theirs = await shown(pki.issue(root("public"), subject="api"))
    assert ours["names"] == ""
    assert "client" not in ours
    assert "server" not in theirs


async def test_a_certificate_for_thousands_is_told_in_short() -> None:
    names = [pki.host(f"h{i}.test") for i in range(100)]
    ours, _ = await shown(pki.issue(root("public"), *names))
    assert ours["names"].count(",") == MOST_NAMES_TOLD - 1
