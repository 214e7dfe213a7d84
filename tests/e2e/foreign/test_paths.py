"""A protected path before servers that read paths each in their own way: however it is written, nobody is given it; and what is let
through is, byte for byte, what was judged.

The servers are set to read as much into a path as they can. Asked without a sidecar they show that most of these spellings are no jest.
"""

import json
import secrets
from collections.abc import Sequence

import pytest

from tests.helpers.pods import Evidence, Pod, Record, wait_until

from .mesh import APPS, PATH_SERVERS, PYTHON, VIPS, Mesh
from .servers import SECRET
from .spellings import HARMLESS, HOST, SPELLINGS

servers = pytest.mark.parametrize("server", PATH_SERVERS)
AT_LEAST = {"nginx": 90, "apache": 90, "tomcat": 100}      # spellings by which the server alone gives the secret away


def ask(client: Pod, address: str, server: str, targets: Sequence[str]) -> list[tuple[int, str]]:
    """Status and body of each answer, in their order."""
    done = client.call(PYTHON, APPS / "raw.py", address, str(PATH_SERVERS[server]), HOST, stdin=json.dumps(targets).encode())
    return [(status, body) for status, body in json.loads(done.stdout)]


def logged(mesh: Mesh, server: str) -> list[tuple[str, str]]:
    """Request id and path of what the server says it was asked for."""
    file = mesh.paths.app_folder / f"{server}-access.log"
    lines = file.read_text(encoding="latin-1").splitlines() if file.exists() else []    # Tomcat makes it with the first request
    asked = (line.split(" ", 1) for line in lines)
    return [(key, line.removeprefix("GET ").removesuffix(" HTTP/1.1").partition("?")[0]) for key, line in asked]


@servers
def test_the_servers_would_give_it_away(mesh: Mesh, server: str) -> None:
    """From within the pod, where no sidecar stands between."""
    answers = ask(mesh.paths, "127.0.0.1", server, SPELLINGS)
    assert sum(SECRET in body for _, body in answers) >= AT_LEAST[server]


@servers
@pytest.mark.parametrize("client", ["legacy", "web", "edge"])
def test_nobody_is_given_it(mesh: Mesh, evidence: Evidence, server: str, client: str) -> None:
    """Neither without a sidecar, whose bytes reach the pod's as they are, nor through one, nor through the gateway."""
    pod, address = {
        "legacy": (mesh.legacy, mesh.paths.address), "web": (mesh.web, VIPS["paths"]), "edge": (mesh.legacy, mesh.edge.address),
    }[client]
    last, before = f"/public/{secrets.token_hex(8)}", len(logged(mesh, server))
    answers = ask(pod, address, server, (*SPELLINGS, last))[:-1]
    assert [target for target, (_, body) in zip(SPELLINGS, answers, strict=True) if SECRET in body] == []
    assert {status for status, _ in answers} <= {200, 301, 302, 400, 403, 404, 414, 421, 0}
    assert _same_bytes(mesh, evidence, server, last, before)


@servers
def test_what_is_harmless_arrives_as_it_was_judged(mesh: Mesh, evidence: Evidence, server: str) -> None:
    last, before = f"/public/{secrets.token_hex(8)}", len(logged(mesh, server))
    answers = ask(mesh.legacy, mesh.paths.address, server, (*HARMLESS, last))
    assert {status for status, _ in answers} == {200, 404}
    assert "page" in answers[0][1]
    assert len(_same_bytes(mesh, evidence, server, last, before)) == len(HARMLESS) + 1


def _same_bytes(mesh: Mesh, evidence: Evidence, server: str, last: str, before: int) -> list[Record]:
    """The records of what was let through: the server was asked for just these paths, and for nothing else.

    Args:
        last: the path that was asked for last.
        before: lines of the server's log that are older.
    """
    evidence.wait_told(mesh.paths, direction="inbound", path=last)
    records = evidence.told(mesh.paths, direction="inbound", port=PATH_SERVERS[server])
    let = [record for record in records if not record.get("code")]
    told = sorted((record["request_id"], record["path"]) for record in let)
    wait_until(lambda: len(logged(mesh, server)) >= before + len(told), lambda: f"{server} has not written down all of {told}")
    assert sorted(logged(mesh, server)[before:]) == told
    assert {record["rule"] for record in let} == {"public"}
    return let
