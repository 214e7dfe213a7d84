"""`bartizan egress COMMAND`: what workloads reach outside of the mesh, and what would let them; one file for each command.

A command's module has `WHAT`, `add_arguments(parser)` and `run(args) -> int`.
"""

import argparse

from . import egress_explain, egress_propose

COMMANDS = {"explain": egress_explain, "propose": egress_propose}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan egress", description="What workloads reach outside of the mesh, and what lets them.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        each = commands.add_parser(name, help=module.WHAT, description=module.WHAT)
        module.add_arguments(each)
        each.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    return int(args.run(args))
