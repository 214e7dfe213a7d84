"""`python -m tests.fuzz.run TARGET --seconds N`: search for an input that breaks a target's invariant, guided by coverage.

TARGET may be `all`. What was found interesting is kept in .fuzz/TARGET and searched from the next time; an input that breaks the
invariant is written beside it, and its way into tests/vectors/fuzz/TARGET is a commit with what mends it.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import atheris

WORK = Path(__file__).parents[2] / ".fuzz"

with atheris.instrument_imports(include=["sidecar", "tests.fuzz", "tests.helpers"]):
    from tests.fuzz.targets import TARGETS, seeds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    if asked.target == "all":
        return max(
            subprocess.run([sys.executable, "-m", "tests.fuzz.run", name, "--seconds", str(asked.seconds)], check=False).returncode
            for name in TARGETS
        )
    search(asked.target, asked.seconds)
    return 0


def search(name: str, seconds: int) -> None:
    """Ends the process: with an error if the invariant was broken."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(seeds(name).values()):
        (folder / f"seed-{number}").write_bytes(text)
    words = WORK / f"{name}.dict"
    words.write_text("".join(f'"{quoted(piece)}"\n' for piece in TARGETS[name].pieces if len(piece) < 128))
    options = [
        f"-max_total_time={seconds}", f"-dict={words}", f"-artifact_prefix={WORK}/{name}-", "-max_len=8192", "-timeout=10",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], TARGETS[name].fuzz)
    atheris.Fuzz()


def quoted(piece: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in piece)


if __name__ == "__main__":
    sys.exit(main())
