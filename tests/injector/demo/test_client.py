import json
import socket
import threading
from collections.abc import Iterator

import pytest

from injector.demo import apps, client
from injector.demo.websocket import accept


@pytest.fixture
def port() -> Iterator[int]:
    with apps.DualStack(("::", 0), apps.Orders) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def report(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    capsys.readouterr()
    assert client.main(list(words)) == 0
    return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))


def test_it_connects_elsewhere_and_keeps_the_host_of_the_url(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    seen = report(capsys, "http", "PUT", "http://approved.example/x", "--to", f"[::1]:{port}", "--header", "a:b", "--body", "t")
    assert seen["status"] == 200
    received = json.loads(str(seen["body"]))
    assert dict(received["headers"])["Host"] == "approved.example"
    assert (received["method"], received["path"], received["body"]) == ("PUT", "/x", "t")


def test_load_counts_every_answer(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    seen = report(capsys, "load", f"http://127.0.0.1:{port}/", "--per-second", "50", "--seconds", "0.5")
    assert seen == {"sent": 25, "statuses": {"200": 25}, "failures": []}


def test_until_says_when(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys, "until", f"http://127.0.0.1:{port}/", "--status", "200")["statuses"] == [200]
    never = report(capsys, "until", f"http://127.0.0.1:{port}/", "--status", "403", "--seconds", "0.2")
    assert never == {"at": None, "statuses": [200]}


def test_stay_says_when_an_answer_ended(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    whole = report(capsys, "stay", f"http://127.0.0.1:{port}/")
    assert whole["bytes"] > 0   # type: ignore[operator]
    assert whole["at"] is not None
    assert report(capsys, "stay", f"http://127.0.0.1:{port}/", "--seconds", "0") == {"bytes": 0, "at": None, "error": ""}


def test_a_failure_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert "ConnectionRefusedError" in str(report(capsys, "http", "GET", f"http://127.0.0.1:{port}/")["error"])
        assert "ConnectionRefusedError" in str(report(capsys, "tcp", "127.0.0.1", str(port))["error"])
        load = report(capsys, "load", f"http://127.0.0.1:{port}/", "--per-second", "50", "--seconds", "0.1")
        assert (load["sent"], load["statuses"]) == (5, {})


def test_udp_and_dns(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        asked: list[bytes] = []

        def serve() -> None:
            for _ in range(2):
                data, peer = server.recvfrom(2048)
                asked.append(data)
                server.sendto(data[:2] + b"\x81\x83\0\1\0\0\0\0\0\0", peer)

        threading.Thread(target=serve, daemon=True).start()
        port = str(server.getsockname()[1])
        assert report(capsys, "udp", "127.0.0.1", port, "--send", "hello")["sent"] == 5
        assert report(capsys, "dns", "127.0.0.1", port, "--send", "a.example")["received"] == "RCODE 3, 0 answers"
        assert asked[0] == b"hello"
        assert asked[1].endswith(b"\1a\7example\0\0\1\0\1")


def test_a_websocket_echoes_and_is_asked_for(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    seen = report(capsys, "websocket", f"http://127.0.0.1:{port}/events", "--body", "hello")
    assert seen == {"status": 101, "received": "hello", "error": ""}


def test_a_websocket_is_held(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    seen = report(capsys, "hold", f"http://127.0.0.1:{port}/events", "--seconds", "0.1")
    assert seen["echoes"]
    assert (seen["at"], seen["error"]) == (None, "")


def test_the_end_of_a_websocket_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """As `websocket`, where a server ends it: neither takes that for an echo."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer() -> None:
            for _ in range(2):
                with server.accept()[0] as stream:
                    key = stream.recv(4096).partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
                    stream.sendall(f"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: {accept(key)}\r\n\r\n".encode())

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        held = report(capsys, "hold", url, "--seconds", "10")
        asked = report(capsys, "websocket", url, "--body", "hello")
    assert held["echoes"] == 0
    assert held["at"] is not None
    assert held["error"]
    assert (asked["status"], asked["received"]) == (101, "")
    assert asked["error"]


def test_without_a_server_that_accepts_there_is_no_websocket(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer() -> None:
            with server.accept()[0] as stream:
                stream.sendall(b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: no\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        seen = report(capsys, "websocket", f"http://127.0.0.1:{server.getsockname()[1]}/", "--body", "hello")
    assert seen == {"status": 101, "received": "", "error": ""}
