"""WebSocket: where a route opts in, and nowhere else."""

import pytest

from tests.helpers.pods import Evidence

from .mesh import APPS, PYTHON, Mesh, client, curl, url

UPGRADE = ("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
           "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


def test_of_the_websockets_library(mesh: Mesh, evidence: Evidence) -> None:
    """Text, a fragmented message, a megabyte of bytes, a ping, and a close that both sides agree on."""
    found = client(mesh.web, PYTHON, APPS / "client.py", "websockets", url("websockets", "/ws", scheme="ws"))
    assert found == {"text": "hello", "pieces": "in three pieces", "same": True, "code": 1000}
    ((out, entered),) = evidence.carried(mesh.web, mesh.orders, path="/ws", status=101)
    assert entered["rule"] == "upgradable"
    assert min(out["received"], out["sent"], entered["received"], entered["sent"]) > 1_000_000


def test_of_a_client_by_hand_and_nothing_in_clear(mesh: Mesh, evidence: Evidence, secret: str) -> None:
    found = client(mesh.web, "node", APPS / "client.js", "websocket", url("websockets", "/ws"), secret)
    assert found == {"status": 101, "text": secret}
    evidence.carried(mesh.web, mesh.orders, path="/ws", status=101)


def test_several_at_a_time_are_independent(mesh: Mesh, evidence: Evidence) -> None:
    command = (*(str(PYTHON), str(APPS / "client.py")), "websockets", url("websockets", "/ws", scheme="ws"))
    done = mesh.web.call("sh", "-c", f"for i in 1 2 3 4; do {' '.join(command)} & done; wait")
    assert done.stdout.decode().count('"same": true, "code": 1000') == 4
    evidence.carried(mesh.web, mesh.orders, 4, path="/ws", status=101)


@pytest.mark.parametrize("server", ["websockets", "go"])
def test_a_route_without_upgrades_changes_no_protocol(mesh: Mesh, evidence: Evidence, server: str) -> None:
    """The application sees a plain request (RFC 9110 s7.8: a server may ignore Upgrade), and the connection stays HTTP."""
    answer = curl(mesh.web, *UPGRADE, url(server, "/hello"))
    assert answer.status != 101
    assert "upgrade" not in answer.headers.get("connection", [""])[0].lower()
    if server == "go":
        assert answer.body == b"hello from go\n"
    evidence.carried(mesh.web, mesh.orders, path="/hello", status=answer.status)
