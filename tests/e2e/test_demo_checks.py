"""Each check of the demo can fail: in the same world, its safeguard switched off, it says what it must not see."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from injector.demo.checks import EVERY, rules
from injector.demo.errors import DemoError
from injector.demo.modes import detect, search_path

pytestmark = pytest.mark.netns
ROOT = Path(__file__).parents[2]

# (sabotage of tests/helpers/sabotage.py, check, what it says). Neighbours share a sabotage: it is brought about once.
SHOWN = (
    ("evidence_edited", "the audit proves which connections were mTLS, and an edited line is found", "not all is mTLS"),
    ("unmeshed", "web reaches orders over mTLS, and the application is told both identities", "told that None calls"),
    ("unmeshed", "an identity that a client makes up, and whatever else it claims, does not reach the application", "sa/admin"),
    ("unmeshed", "a chunked upload arrives with its trailer, and a trailer comes back", "URI=admin"),
    ("unmeshed", "the same holds over IPv6", "not told the caller's identity"),
    ("unmeshed", "the bridge carries none of the bytes that were sent", "frames on the bridge hold what was sent"),
    ("unmeshed", "an approved host is reached over TLS that the sidecar originates and verifies", "spoken to over None"),
    ("unmeshed", "an approved Host header towards another address leads to the approved host", "collector.example got"),
    ("unmeshed", "an approved TLS name towards another address leads to the approved host", "collector.example got"),
    ("unmeshed", "an address without a name is refused, IPv4 and IPv6", "collector.example got"),
    ("unmeshed", "UDP 443 and other UDP are refused, IPv4 and IPv6", "collector.example got"),
    ("unmeshed", "a DNS query to anybody's server goes to the guard, IPv4 and IPv6", "collector.example got"),
    ("unmeshed", "the operator is told who proves to be a Service of the mesh", "shop/web"),
    ("any_method", "a method that no rule allows is refused with code and rule", "got 200"),
    ("any_path", "a path that no rule allows is refused with code and rule", "got 200"),
    ("thief_allowed", "the right network with the wrong identity is refused", "got 200"),
    ("port_undeclared", "HTTP/2 from curl passes both sidecars to an application that speaks HTTP/1.1", "curl was told"),
    ("leave_only", "a WebSocket is opened where a rule allows it, and nowhere else", "expected 101, got 200"),
    ("leave_only", "a rate limit holds for each tenant alone", "expected 429 BZ0106, got 200"),
    ("leave_only", "a redirection is answered by the sidecar", "expected 308, got 200"),
    ("no_retries", "the caller's sidecar asks again where the rule says so, and never for a POST", "expected 200, got 503"),
    ("permissive", "plaintext from a pod without sidecar is refused", "reached the application"),
    ("port_served", "another pod cannot use the sidecar's own ports", "legacy was answered at 10.244.0."),
    ("private_folder_shared", "neither the application nor another pod reaches the admin", "admin.sock"),
    ("not_let_in", "a client from outside reaches a pod over mTLS by the ingress gateway, which alone says who it is", "got 403 BZ0102"),
    ("nameless_rule", "the ingress gateway answers for no host or path that no rule names, and shows no other certificate",
     "expected 404 BZ0113, got"),
    ("no_way_out_over_ipv6", "control: what a pod without sidecar sends does arrive outside", "7 of 14 arrived"),
    ("another_client", "a host that demands a client certificate is shown the right one", "'shop-other'"),
    ("another_client", "the operator is told each step to an approved host, with the certificates of both ends", "CN=shop-other"),
    ("right_certificate", "an approved name with a wrong certificate gets no byte of the request", "got 200"),
    ("secret_created", "a missing client secret closes the host, and nothing is sent", "got 200"),
    ("ungated", "a policy can require the way through the gateway, which knows whom it leads out", "not from the gateway"),
    ("approved", "an unapproved host is refused, logged, and sees nothing", "name of an unapproved host was answered"),
    ("approved", "the operator is told what an unapproved host lacks, and why a wrong certificate is none", "unapproved.example: status 0"),
    ("approved", "a real request is sent for the operator by the application's own way", "unapproved.example/: status 0"),
    ("unrestricted", "a method or a path that the policy does not list is refused, and the host sees nothing of it", "got 200"),
    ("unrestricted", "an upload beyond the bytes of an hour is cut, and the host gets no more than those", "121,000 bytes"),
    ("unrestricted", "an expired certificate is refused; where a policy waives that, each connection is written down",
     "expected 200, got 503 BZ0206"),
    ("unrestricted", "a host with another key than the pinned one gets no byte of the request", "got 200"),
    ("databases_in_plaintext", "a database by name is asked for TLS in its own protocol, verified, and only then hears the application",
     "spoken to over None"),
    ("databases_in_plaintext", "a database that declines TLS hears nothing of the application", "the server got"),
    ("observed_on", "what an observed pod reached is proposed as annotation and policy, which let exactly that through",
     "expected 403 BZ0201, got 200"),
    ("observed_on", "a host that is new to a workload is told once, in log and metric", "nothing was told"),
    ("another_probe", "each packet rule that is deleted turns the pod not ready and closes what leaves it", "pod stayed ready"),
    ("control_plane_mute", "an annotation changed while traffic runs is effective within 5 s, and no request fails",
     "no 200 within 6 s"),
    ("control_plane_mute", "an approval that is withdrawn ends live connections within 5 s: kept, in use, passed through",
     "3 of 3 connections went on"),
    ("control_plane_mute", "certificates change while 50 requests a second run, and none fails", "no new certificate after"),
    ("control_plane_mute", "a revoked pod is refused within 5 s, its connections end, and it cannot get a new certificate",
     "not refused within 5 s"),
    ("control_plane_mute", "the root changes under load, and no request fails", "awaited: shop/"),
)


class Sabotaged:
    """The world in its own process and namespaces."""

    def __init__(self, process: subprocess.Popen[str], has_uids: bool) -> None:
        self._process = process
        self.has_uids = has_uids

    def ask(self, sabotage: str, check: str) -> dict[str, Any]:
        """The result of a check under a sabotage."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"sabotage": sabotage, "check": check}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"the world has ended under {sabotage}"
        return dict(json.loads(line))


@pytest.fixture(scope="module")
def world() -> Iterator[Sabotaged]:
    try:
        mode = detect(os.geteuid() == 0)
    except DemoError as exc:
        pytest.skip(str(exc))
    with subprocess.Popen(["unshare", *mode.unshare, sys.executable, "-m", "tests.helpers.sabotage", mode.name],
                          cwd=ROOT, env={**os.environ, "PATH": search_path()},
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Sabotaged(process, mode.has_uids)
        process.kill()   # the world goes with the first process of its namespaces


def test_each_check_is_shown_to_fail() -> None:
    assert {check.name for check in EVERY} == {check for _, check, _ in SHOWN}


@pytest.mark.parametrize("check", [check.name for check in EVERY if check not in rules.CHECKS])
def test_with_every_safeguard_a_check_passes(world: Sabotaged, check: str) -> None:
    result = world.ask("nothing", check)
    assert result["passed"], result["detail"]


@pytest.mark.parametrize(("sabotage", "check", "says"), SHOWN, ids=[f"{sabotage}: {check}" for sabotage, check, _ in SHOWN])
def test_without_its_safeguard_a_check_fails(world: Sabotaged, sabotage: str, check: str, says: str) -> None:
    result = world.ask(sabotage, check)
    assert not result["passed"]
    assert says in result["detail"]


def test_argument_and_user_are_those_of_the_patch(world: Sabotaged) -> None:
    """Further parts of the patch that make a difference: `unmeshed`, `private_folder_shared` and `another_probe` above."""
    if not world.has_uids:
        pytest.skip("a single UID here: runAsUser cannot be honoured")
    exempt, runs_as = world.ask("nothing", "users")["detail"].split()
    assert exempt == runs_as != "49999"
    assert world.ask("another_user", "users")["detail"] == "49999 49999"
