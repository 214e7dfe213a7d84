"""Databases and mail outside, reached by name: the application speaks plaintext, and the server insists on TLS."""

import secrets
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.helpers.netns import Wire
from tests.helpers.pods import Evidence

from .databases import PASSWORD, USER, Databases
from .mesh import APPS, DATABASES, OUTSIDE, PARTNER, PYTHON, STRANGER, Mesh

SYNTHETIC = ip_network("240.0.0.0/4")
EACH = pytest.mark.parametrize("name", DATABASES)


@pytest.fixture(scope="module")
def databases(mesh: Mesh) -> Databases:
    return Databases(mesh)


@pytest.fixture
def text() -> str:
    return secrets.token_hex(16)


@pytest.fixture
def wire(mesh: Mesh, databases: Databases) -> Iterator[Wire]:
    """What web and outside send."""
    tap = Wire(mesh.node, "web", "outside")
    yield tap
    tap.close()


def tell(mesh: Mesh, name: str, text: str, host: str, port: int) -> str:
    """What the client of the kind says, having told the server `text` if it could."""
    command: tuple[str | Path, ...] = {
        "postgres": ("psql", f"host={host} port={port} user={USER} dbname=postgres", "-Atqc",
                     f"select '{text}', ssl, version from pg_stat_ssl where pid = pg_backend_pid()"),
        "mysql": (*mysql(host, port, USER), f"select '{text}'; show status like 'Ssl_version'"),
        "mail": (PYTHON, APPS / "mail.py", host, str(port)),
        "cache": ("redis-cli", "-h", host, "-p", str(port), "echo", text),
    }[name]
    done = mesh.web.run_app(*command, stdin=text.encode())
    return done.stdout.decode() + done.stderr.decode()


def mysql(host: str, port: int, user: str) -> tuple[str, ...]:
    return "mariadb", "--no-defaults", "-h", host, "-P", str(port), "-u", user, f"-p{PASSWORD}", "-BNe"


@EACH
def test_the_server_has_verified_tls_and_the_application_knows_nothing_of_it(
    name: str, mesh: Mesh, evidence: Evidence, databases: Databases, wire: Wire, text: str
) -> None:
    port = DATABASES[name][1]
    said = tell(mesh, name, text, f"{name}.{PARTNER}", port)
    if name == "postgres":
        assert said == f"{text}|t|TLSv1.3\n"
    elif name == "mysql":
        assert said == f"{text}\nSsl_version\tTLSv1.3\n"
    elif name == "cache":
        assert said == f"{text}\n"
    else:
        assert "8bitmime" in said
        assert "starttls" not in said
        assert text.encode() in databases.letters()
        assert "P=esmtps X=TLS1.3:" in databases.mail()
    (record,) = evidence.wait_told(mesh.web, host=f"{name}.{PARTNER}")
    assert (record["security"], record["tls"], record["rule"]) == ("tls", "TLSv1.3", f"databases/{name}")
    assert ip_address(record["dst"].partition(":")[0]) in SYNTHETIC
    packets = wire.seen()
    assert packets
    assert not [packet for packet in packets if text.encode() in packet]


@EACH
def test_a_certificate_for_somebody_else_gets_nothing(
    name: str, mesh: Mesh, evidence: Evidence, wire: Wire, text: str
) -> None:
    said = tell(mesh, name, text, f"{name}.{STRANGER}", DATABASES[name][1])
    assert name == "cache" or "BZ0206 server-not-verified" in said, said
    (record,) = evidence.wait_told(mesh.web, host=f"{name}.{STRANGER}")
    assert record["code"] == "BZ0206"
    assert not [packet for packet in wire.seen() if text.encode() in packet]


@EACH
def test_a_server_that_does_not_offer_tls_gets_nothing(name: str, mesh: Mesh, evidence: Evidence, wire: Wire, text: str) -> None:
    said = tell(mesh, name, text, f"{name}.{PARTNER}", DATABASES[name][2])
    assert name == "cache" or "BZ0213 start-tls-refused" in said, said
    (record,) = evidence.wait_told(mesh.web, host=f"{name}.{PARTNER}")
    assert record["code"] == ("BZ0206" if name == "cache" else "BZ0213")
    packets = wire.seen()
    assert not [packet for packet in packets if text.encode() in packet or USER.encode() + b"\0" in packet]


@EACH
def test_a_port_that_nobody_approved_is_not_even_dialled(name: str, mesh: Mesh, evidence: Evidence, wire: Wire, text: str) -> None:
    tell(mesh, name, text, f"{name}.{PARTNER}", 7777)
    (record,) = evidence.wait_told(mesh.web, host=f"{name}.{PARTNER}")
    assert record["code"] == "BZ0201"
    assert "not TCP to port 7777" in record["detail"]
    assert not sent(mesh.web.address, wire)


def test_nor_is_the_address_behind_the_name(mesh: Mesh, evidence: Evidence, wire: Wire, text: str) -> None:
    tell(mesh, "cache", text, OUTSIDE, DATABASES["cache"][1])
    (record,) = evidence.wait_told(mesh.web, dst=f"{OUTSIDE}:{DATABASES['cache'][1]}")
    assert record["code"] == "BZ0202"
    assert not sent(mesh.web.address, wire)


def sent(address: str, wire: Wire) -> list[bytes]:
    """Packets from `address` to outside."""
    ends = b"".join(bytes(map(int, end.split("."))) for end in (address, OUTSIDE))
    return [packet for packet in wire.seen() if packet[12:20] == ends]


def test_mysql_logs_in_by_another_method_than_the_server_began_with(mesh: Mesh, databases: Databases) -> None:
    """The server asks for the login once more, in packets whose numbers differ by one on the two sides."""
    host, port = f"mysql.{PARTNER}", DATABASES["mysql"][1]
    assert mesh.web.call(*mysql(host, port, "ed"), "select current_user()").stdout == b"ed@%\n"
    wrong = mesh.web.run_app(*mysql(host, port, "nobody"), "select 1")
    assert b"Access denied for user 'nobody'" in wrong.stderr
    large = mesh.web.call(*mysql(host, port, USER), "select length(repeat('x', 15000000)), 1; select repeat('x', 15000000)").stdout
    assert len(large) > 15_000_000


def test_postgresql_is_cancelled_and_prefers_what_it_likes(mesh: Mesh, databases: Databases) -> None:
    address = f"host=postgres.{PARTNER} port={DATABASES['postgres'][1]} user={USER} dbname=postgres"
    for mode in ("disable", "allow", "prefer"):
        assert mesh.web.call("psql", f"{address} sslmode={mode}", "-Atqc", "select 1").stdout == b"1\n"
    refused = mesh.web.run_app("psql", f"{address} sslmode=require", "-Atqc", "select 1")
    assert b"server does not support SSL, but SSL was required" in refused.stderr
    stopped = mesh.web.run_app("timeout", "--signal=INT", "0.5", "psql", address, "-Atqc", "select pg_sleep(50)")
    assert b"canceling statement due to user request" in stopped.stderr
