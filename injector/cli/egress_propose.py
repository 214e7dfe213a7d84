"""`bartizan egress propose`: the annotations and policies for what the ledgers have seen (`injector/egress/propose.py`)."""

import argparse

WHAT = "print the annotations and policies for what was seen"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="folder of ledgers, or one ledger")


def run(args: argparse.Namespace) -> int:
    return 0
