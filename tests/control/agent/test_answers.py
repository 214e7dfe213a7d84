"""What an issuer may answer instead of a certificate of ours."""

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import to_builtins
from trio.testing import MockClock

from sidecar.model.call import Answer, Call
from tests.control.agent.support import HOUR_S, TRUST, Fixture, issued
from tests.helpers import pki
from tests.helpers.endpoint import URL
from tests.helpers.mesh import root
from tests.helpers.pki import ORDERS, WEB


def _other_key(call: Call) -> Answer:
    holder = pki.issue(root(), pki.uri(WEB))
    return Answer(200, json.dumps({"chain": [holder.chain_pem], "trust": to_builtins(TRUST), "notAfter": 0.0, "now": 0.0}).encode())


def _unknown_key(call: Call) -> Answer:
    document = json.loads(issued(call).body)
    (der,) = (item.public_bytes(Encoding.DER) for item in x509.load_pem_x509_certificates(document["chain"][0].encode()))
    strange = x509.load_der_x509_certificate(der.replace(b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\xce\x3d\x02\x09"))
    return Answer(200, json.dumps(document | {"chain": [strange.public_bytes(Encoding.PEM).decode()]}).encode())


def _changed(**changes: object) -> Callable[[Call], Answer]:
    return lambda call: Answer(200, json.dumps(json.loads(issued(call).body) | changes).encode())


HOURS = {"begins": timedelta(hours=-3), "ends": timedelta(hours=-1)}


@pytest.mark.parametrize(("answer", "words"), [
    (lambda _: Answer(403, b'{"error": "no such pod"}'), "the issuer answered 403: .*no such pod"),
    (lambda _: Answer(200, b"no JSON"), "cannot be read"),
    (lambda _: Answer(200, b"{}"), "cannot be read"),
    (lambda _: Answer(200, b'{"x":' + b"[" * 60000), "cannot be read"),
    (lambda _: Answer(200, b'{"chain": [], "trust": {"version": 1, "roots": ""}, "notAfter": 1, "now": 1}'), "holds no certificate"),
    (lambda _: Answer(200, b"\xff"), "cannot be read"),
    (_other_key, "not for the key that was asked for"),
    (_unknown_key, "the key in the certificate of the issuer cannot be read"),
    (lambda call: issued(call, "spiffe://example.org/ns/shop"), "no SVID"),
    (lambda call: issued(call, is_ca=True), "it is a CA"),
    (lambda call: issued(call, ORDERS), "it says .*/sa/orders; this is .*/sa/web. If that is meant, restart the pod"),
    (lambda call: issued(call, signer="stranger"), "leads to no root of the trust bundle, version 1"),
    (lambda call: issued(call, said=time.time() - 5 * HOUR_S, **HOURS), "outside of the certificate that it issued"),
    (lambda call: issued(call, said=time.time() - 2 * HOUR_S, **HOURS), "it ended at .* by this clock, .*set the clock"),
    (_changed(now=0), "the issuer's clock, 1970-01-01 00:00:00 UTC, lies outside"),
    (_changed(now=1e300), "lies outside of the certificate"),
    (_changed(now=-1e300), "lies outside of the certificate"),
    (_changed(now="noon"), "cannot be read"),
    (_changed(notAfter=None), "cannot be read"),
    (_changed(trust=None), "cannot be read"),
    (_changed(trust={"version": 2, "roots": "no PEM"}), "roots: holds no certificate"),
    (_changed(trust={"version": 2, "roots": TRUST.roots, "signer": "x"}), "no SHA-256 fingerprint"),
    (_changed(trust={"version": 2, "roots": TRUST.roots, "revoked": {"serials": ["7"]}}), "no serial number"),
    (_changed(trust={"version": 2, "roots": TRUST.roots, "surprise": 1}), "cannot be read"),
    (_changed(trust={"version": -2, "roots": TRUST.roots}), "cannot be read"),
    (_changed(trust={"version": 2, "roots": pki.pem([root("stranger").certificate])}), "leads to no root .*version 2"),
    (_changed(chain=["x"]), "holds no certificate"),
    (_changed(chain="x"), "cannot be read"),
])
async def test_what_is_no_certificate_of_ours_leaves_the_previous_in_force(
    answer: Callable[[Call], Answer], words: str, nursery: trio.Nursery, autojump_clock: MockClock, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fixture = Fixture(nursery, tmp_path, keeps=True)
    fixture.answer(issued)
    first = await fixture.wait_taken()
    kept = fixture.kept.read_bytes()
    fixture.answer(answer)
    fixture.agent.rotate()
    await trio.sleep(100)
    assert fixture.tls.current is first
    assert (fixture.keyring.version, fixture.kept.read_bytes()) == (1, kept)
    assert re.search(f"no certificate from {URL}: .*{words}", capsys.readouterr().err)
    assert re.search(words, fixture.agent.problem)
    assert len(fixture.asked) - 2 == fixture.agent.failures - 1 > 5      # and it is asked for again
    fixture.answer(issued)
    await fixture.wait_taken(first)
    assert (fixture.agent.problem, fixture.agent.overdue_s) == ("", 0)
