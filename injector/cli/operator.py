"""`bartizan operator PATH`: what stands on standard input, put to the injector's operator socket on this machine; the answer as JSON.

The other verbs run it inside the injector's pods (`injector/cli/doors.py`); it is of little use by hand.
"""

import argparse
import sys

import msgspec

from .doors import Local, Passed
from .state import add_arguments, state_of


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan operator", description="Put a question of the other verbs to the injector beside us.")
    parser.add_argument("path", metavar="PATH", help="/v1/status and the like; its body on standard input")
    add_arguments(parser)
    args = parser.parse_args(argv)
    answer = Local(state_of(args)).call(args.path, sys.stdin.buffer.read())
    print(msgspec.json.encode(Passed(answer.status, msgspec.Raw(answer.body or b"null"))).decode())
    return 0
