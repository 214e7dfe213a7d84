import http.client
import json
import threading

import pytest

from injector.demo import apps


def test_orders_tells_what_it_received(capsys: pytest.CaptureFixture[str]) -> None:
    with apps.DualStack(("::", 0), apps.Orders) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
            for method in ("GET", "PATCH"):
                connection.request(method, "/orders/1?a=b", "text", {"X-One": "1"})
                said = json.loads(connection.getresponse().read())
                assert (said["method"], said["path"], said["body"]) == (method, "/orders/1?a=b", "text")
                assert ["X-One", "1"] in said["headers"]
            connection.close()
        finally:
            server.shutdown()
    assert '"request": "PATCH /orders/1?a=b HTTP/1.1"' in capsys.readouterr().out


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert apps.main(["order"]) == 2
    assert "usage" in capsys.readouterr().err
