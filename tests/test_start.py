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
