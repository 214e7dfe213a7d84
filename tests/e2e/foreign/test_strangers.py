"""The ingress gateway before strangers: what is found by a program that looks for weaknesses of TLS, and achieved by one that holds
connections for as long as it is let.
"""

import pytest

from tests.helpers.pods import Evidence, Pod, wait_until

from .mesh import PUBLIC, TLS_PORT, VENV, Mesh, curl
from .servers import start_nginx

# What is done slowly, and how it is told in the log.
ATTACKS = {
    "heads": (("-H", "-i", "2"), "/hello", "request head"),
    "uploads": (("-B", "-i", "2", "-s", "8192"), "/sum", "request body"),
    "answers": (("-X", "-n", "2", "-z", "32", "-w", "512", "-y", "1024"), "/bytes?n=5000000", "response"),
}
TRIED, LASTS_S, CUT_S = 300, 60, 40.0
HELD = 100      # at least: one address may hold its share of the gateway's descriptors, and is shut out beyond
WEAK = "ssl_protocols TLSv1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;"


def complaints(mesh: Mesh, server: Pod) -> str:
    """What of a server's TLS is not as Mozilla's intermediate configuration; empty: nothing."""
    roots = mesh.legacy.app_folder / "roots.pem"
    roots.write_text(mesh.outside_root.chain_pem)
    done = mesh.legacy.run_app(VENV / "sslyze", "--mozilla_config=intermediate", f"--certinfo_ca_file={roots}", f"--sni={PUBLIC}",
                               f"{server.address}:{TLS_PORT}")
    _, title, found = done.stdout.decode().partition("COMPLIANCE AGAINST TLS CONFIGURATION")
    assert title, done.stderr.decode()
    return "" if done.returncode == 0 and "OK - Compliant." in found else found


def test_its_tls_is_what_mozilla_recommends(mesh: Mesh) -> None:
    assert complaints(mesh, mesh.edge) == ""


def test_other_tls_would_be_found(mesh: Mesh) -> None:
    """With the same certificate, or the test above would prove nothing."""
    folder = mesh.legacy.app_folder
    (folder / "chain.pem").write_text(mesh.public.chain_pem)
    (folder / "key.pem").write_text(mesh.public.key_pem)
    start_nginx(mesh.legacy, TLS_PORT, f"""
        server {{ listen {TLS_PORT} ssl; ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem; {WEAK} }}
    """)
    found = complaints(mesh, mesh.legacy)
    assert "tls_versions: " in found
    assert "ciphers: " in found
    assert "certificate" not in found


@pytest.mark.parametrize("slow", ATTACKS)
def test_who_is_slow_on_purpose_is_cut_and_nobody_else_notices(mesh: Mesh, slow: str) -> None:
    how, path, told = ATTACKS[slow]
    evidence = Evidence.from_now([mesh.edge])
    url = f"https://{PUBLIC}:{TLS_PORT}"
    attack = mesh.legacy.start(f"slow-{slow}", "slowhttptest", *how, "-c", str(TRIED), "-r", "200", "-l", str(LASTS_S), "-u", url + path)
    log = mesh.legacy.folder / f"slow-{slow}.log"
    roots = mesh.outside.app_folder / "roots.pem"
    roots.write_text(mesh.outside_root.chain_pem)

    def held() -> int:
        lines = mesh.edge.run(f"ss -Htn state established sport = :{TLS_PORT}").splitlines()
        return sum(mesh.legacy.address in line for line in lines)

    def is_over() -> bool:
        """Another client is answered."""
        answer = curl(mesh.outside, "--cacert", roots, f"{url}/hello")
        assert (answer.status, answer.body) == (200, b"hello from go\n")
        return not held()

    try:
        wait_until(lambda: held() >= HELD, log.read_text)
        assert not is_over()
        wait_until(is_over, log.read_text, CUT_S)
        assert "Hit test time limit" not in log.read_text()
    finally:
        attack.kill()
    assert {record["source"] for record in evidence.wait_told(mesh.edge, HELD, detail=told)} == {mesh.legacy.address}
    assert {record["status"] for record in evidence.told(mesh.edge, source=mesh.outside.address)} == {200}
    assert (mesh.edge.folder / "gateway.log").read_text() == ""
