"""Connections that are not HTTP: Redis, PostgreSQL, a server that speaks first, a half-closed one, and an application's own TLS."""

import pytest

from tests.helpers.pods import Evidence

from .mesh import PORTS, Mesh, curl, host, url
from .servers import newest_postgres

TABLE = "create table if not exists numbers (n int, name text); truncate numbers;"


def psql(mesh: Mesh, text: str, user: str = "postgres") -> str:
    address = f"host={host('orders')} port={PORTS['postgres'][0]} user={user} dbname=postgres"
    return mesh.web.call("psql", address, "-v", "ON_ERROR_STOP=1", "-Atq", "-f", "-", stdin=text.encode()).stdout.decode()


def redis(mesh: Mesh, *words: str, stdin: bytes = b"") -> bytes:
    return mesh.web.call("redis-cli", "-h", host("orders"), "-p", str(PORTS["redis"][0]), *words, stdin=stdin).stdout


def test_redis(mesh: Mesh, evidence: Evidence, secret: str) -> None:
    large = secret * 30_000
    assert redis(mesh, "-x", "SET", "large", stdin=large.encode()) == b"OK\n"
    assert redis(mesh, "GET", "large").decode() == large + "\n"
    assert redis(mesh, stdin=b"MULTI\nINCR counter\nINCR counter\nEXEC\nDEL counter\n").splitlines()[-3:] == [b"1", b"2", b"1"]
    pairs = evidence.tunnelled(mesh.web, mesh.orders, PORTS["redis"][0], 3)
    assert max(out["received"] for out, _ in pairs) > len(large)
    assert max(out["sent"] for out, _ in pairs) > len(large)


def test_twenty_connections_of_pipelined_commands(mesh: Mesh, evidence: Evidence) -> None:
    done = mesh.web.call("redis-benchmark", "-h", host("orders"), "-p", str(PORTS["redis"][0]), "-c", "20", "-n", "5000", "-P", "8",
                         "-t", "set,get", "--csv")
    assert [line.partition(b",")[0] for line in done.stdout.splitlines()] == [b'"test"', b'"SET"', b'"GET"']
    evidence.tunnelled(mesh.web, mesh.orders, PORTS["redis"][0], 1 + 2 * 20)    # one asks for the settings


def test_postgresql_with_prepared_statements(mesh: Mesh, evidence: Evidence, secret: str) -> None:
    found = psql(mesh, f"""{TABLE}
        prepare put (int, text) as insert into numbers values ($1, $2);
        execute put (1, '{secret}'); execute put (2, 'two');
        prepare found (int) as select name from numbers where n >= $1 order by n;
        execute found (1);
        select sum(length(repeat(name, 10000))) from numbers;""")
    assert found.split() == [secret, "two", str(10000 * (len(secret) + 3))]
    evidence.tunnelled(mesh.web, mesh.orders, PORTS["postgres"][0])


def test_prepared_statements_of_several_sessions(mesh: Mesh, evidence: Evidence) -> None:
    """The extended protocol: what psql of Debian cannot speak, and drivers do."""
    bench = (newest_postgres() / "pgbench", "-h", host("orders"), "-p", str(PORTS["postgres"][0]), "-U", "postgres")
    mesh.web.call(*bench, "-i", "-q", "postgres")
    done = mesh.web.call(*bench, "-n", "-M", "prepared", "-c", "4", "-t", "50", "postgres")
    assert b"number of transactions actually processed: 200/200\n" in done.stdout
    evidence.tunnelled(mesh.web, mesh.orders, PORTS["postgres"][0], 1 + 1 + 4)     # the second asks for the size


def test_an_error_of_the_database_and_the_end_of_its_session_arrive(mesh: Mesh, evidence: Evidence) -> None:
    address = f"host={host('orders')} port={PORTS['postgres'][0]} user=nobody-of-that-name dbname=postgres"
    done = mesh.web.run_app("psql", address, "-c", "select 1")
    assert done.returncode == 2
    assert b'role "nobody-of-that-name" does not exist' in done.stderr
    evidence.tunnelled(mesh.web, mesh.orders, PORTS["postgres"][0])


def test_a_server_that_speaks_first(mesh: Mesh, evidence: Evidence) -> None:
    done = mesh.web.call("socat", "-t", "30", "-", f"TCP:{host('orders')}:{PORTS['banner'][0]}", stdin=b"EHLO web\n")
    assert done.stdout == b"220 ready\n250 EHLO web\n"
    evidence.tunnelled(mesh.web, mesh.orders, PORTS["banner"][0])


@pytest.mark.parametrize("lines", [3, 100_000])
def test_the_answer_comes_after_the_end_of_what_was_sent(mesh: Mesh, evidence: Evidence, lines: int) -> None:
    """`sort` says nothing before its input has ended: only the half-close tells it."""
    sent = b"".join(b"%09d\n" % i for i in reversed(range(lines)))
    done = mesh.web.call("socat", "-t", "30", "-", f"TCP:{host('orders')}:{PORTS['sort'][0]}", stdin=sent)
    assert done.stdout == b"".join(b"%09d\n" % i for i in range(lines))
    ((out, _),) = evidence.tunnelled(mesh.web, mesh.orders, PORTS["sort"][0])
    assert (out["received"], out["sent"]) == (len(sent), len(sent))


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_tls_of_the_applications_own_passes_through_the_mesh(mesh: Mesh, evidence: Evidence, version: str) -> None:
    roots = mesh.web.app_folder / "roots.pem"
    roots.write_text(mesh.outside_root.chain_pem)
    answer = curl(mesh.web, version, "--cacert", roots, url("app-tls", "/", scheme="https"))
    assert (answer.body, answer.headers["x-server-name"]) == (b"the app's own TLS\n", [host("orders")])
    assert answer.version == {"--http1.1": "1.1", "--http2": "2"}[version]
    evidence.tunnelled(mesh.web, mesh.orders, PORTS["app-tls"][0])
