"""In a process of its own, since what is imported here already cannot be kept out."""

import subprocess
import sys
from pathlib import Path

AFTER = """
import sys
from sidecar.start import keep_out
keep_out()
import ssl, hashlib, hmac, trio
"""


def ask(question: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"{AFTER}\n{question}"], cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True,
    )
    return done.stdout.strip()


def test_pythons_own_openssl_stays_out() -> None:
    assert ask("print('libcrypto' in open('/proc/self/maps').read())") == "False"


def test_hashes_are_what_they_are() -> None:
    assert ask("print(hashlib.sha256(b'abc').hexdigest(), hmac.new(b'k', b'abc', 'sha256').hexdigest())").split() == [
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "342e519ce0ad6c03a36b98eeb3f1d130db4813b9df4d1160eda488d712dc78ee",
    ]


def test_whoever_asks_gets_the_true_ssl() -> None:
    """Also who imported the stand-in before."""
    assert ask("""
early = ssl
print(issubclass(early.SSLError, OSError))
import ssl
print(ssl is not early, ssl.create_default_context().verify_mode == early.CERT_REQUIRED, type(ssl).__name__)
""").split() == ["True", "True", "True", "module"]


def test_what_is_for_names_beyond_ascii_stays_out_and_is_there_for_who_asks() -> None:
    assert ask("""
import sidecar.main, importlib, dns.name
print([name for name in ("idna.core", "email.parser") if name in sys.modules])
print(dns.name.from_text("api.example.org").to_text())
import idna
print(idna.encode("b\u00fccher.example").decode())
from importlib import metadata
print(metadata.version("trio") == trio.__version__, type(importlib.metadata).__name__)
""").split("\n") == ["[]", "api.example.org.", "xn--bcher-kva.example", "True module"]


def test_what_no_sidecar_needs_to_be_ready_is_loaded_later() -> None:
    assert ask("""
import sidecar.main
print([name for name in ("h11", "sidecar.proxy.edge", "sidecar.proxy.access", "sidecar.proxy.explain") if name in sys.modules])
""") == "[]"
