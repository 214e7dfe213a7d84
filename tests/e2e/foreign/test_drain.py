"""A sidecar is told to end while its pod is called a thousand times a second: nobody notices, as long as there is another endpoint."""

import re
import signal
import subprocess
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.helpers.pki import ORDERS
from tests.helpers.pods import Evidence, wait_until

from .mesh import GO, PORTS, Mesh, orders_rules, url

REQUESTS = 10_000
# Twenty connections with one request at a time, or four with twenty; a thousand a second together.
LOADS = {1: ("--h1", "-c", "20", "--rps", "50"), 2: ("-c", "4", "-m", "20", "--rps", "250")}


@pytest.mark.parametrize("version", LOADS)
def test_no_request_is_lost(mesh: Mesh, evidence: Evidence, version: int) -> None:
    """The callers' sidecar is not even told that the endpoint leaves; what reached nobody goes to the other one, without a rule."""
    with ExitStack() as stack:
        leaving, staying = (mesh.meshed(f"{name}{version}", ORDERS, orders_rules(), stack=stack) for name in ("leaving", "staying"))
        for pod in (leaving, staying):
            pod.serve(PORTS["go"][0], "go", GO, "serve", str(PORTS["go"][0]))
        load = stack.enter_context(subprocess.Popen(
            mesh.web.argv("h2load", *LOADS[version], "-n", str(REQUESTS), url("go", "/hello", f"shrinking{version}")),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        stack.callback(load.kill)
        both = Evidence({leaving: 0, staying: 0})
        wait_until(lambda: len(both.told(leaving, path="/hello")) > REQUESTS // 10, lambda: f"no load: {load.poll()}")
        leaving.sidecar.send_signal(signal.SIGTERM)
        assert leaving.sidecar.wait(timeout=10) == 0
        assert load.poll() is None, "the load ended before the sidecar"
        said, _ = load.communicate(timeout=90)
        assert re.findall(r"requests: (.*)", said.decode()) == [
            f"{REQUESTS} total, {REQUESTS} started, {REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout"]
        statuses = Counter(record["status"] for record in evidence.wait_told(mesh.web, REQUESTS, path="/hello"))
        assert statuses == {200: REQUESTS}
        answered = [len(both.told(pod, path="/hello", status=200)) for pod in (leaving, staying)]
        assert sum(answered) == REQUESTS
        assert answered[1] > REQUESTS // 2
        assert [pod.complaints() for pod in (leaving, staying)] == ["", ""]
