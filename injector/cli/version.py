"""`bartizan version`, `bartizan --version`: that of this command; `bartizan status` shows those of sidecars."""

import argparse

from injector.version import own_version


def main(argv: list[str]) -> int:
    argparse.ArgumentParser(prog="bartizan version", description="Which version this is.").parse_args(argv)
    print(f"bartizan {own_version()}")
    return 0
