import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from injector.demo import apps


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    with apps.DualStack(("::", 0), apps.Orders) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()


def test_orders_tells_what_it_received(server: tuple[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    connection = http.client.HTTPConnection(*server, timeout=5)
    for method in ("GET", "PATCH"):
        connection.request(method, "/orders/1?a=b", "text", {"X-One": "1"})
        said = json.loads(connection.getresponse().read())
        assert (said["version"], said["method"], said["path"], said["body"]) == ("HTTP/1.1", method, "/orders/1?a=b", "text")
        assert ["X-One", "1"] in said["headers"]
    connection.close()
    assert '"request": "PATCH /orders/1?a=b HTTP/1.1"' in capsys.readouterr().out


def test_chunks_and_trailers_are_read_and_answered(server: tuple[str, int]) -> None:
    with socket.create_connection(server, timeout=5) as stream:
        stream.sendall(b"POST / HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close\r\n\r\n"
                       b"3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n")
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
    said = json.loads(answer[answer.index(b"{"):answer.rindex(b"}") + 1])
    assert (said["body"], said["trailers"]) == ("abcd", [["X-A", "1"], ["X-B", "2"]])
    assert answer.endswith(b"\r\n0\r\nX-Received-Bytes: 4\r\n\r\n")


def test_what_is_flaky_fails_once(server: tuple[str, int]) -> None:
    connection = http.client.HTTPConnection(*server, timeout=5)
    statuses = []
    for path in ("/flaky/a", "/flaky/a", "/flaky/b"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    connection.close()
    assert statuses == [503, 200, 503]


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert apps.main(["order"]) == 2
    assert "usage" in capsys.readouterr().err
