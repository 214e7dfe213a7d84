"""Where the injector keeps its state, for the verbs that ask it or read its ledgers: one place, or that of a kept demo."""

import argparse
from pathlib import Path

from injector.demo import kept, settings
from sidecar.model.errors import ConfigError

STATE = "/var/lib/bartizan"     # the stateDirectory of examples/identity/
LEDGER = "ledger"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", metavar="DIR", help=f"the stateDirectory of an injector on this machine; {STATE} where there is one")
    add_demo(parser)


def add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--demo", action="store_true", help="that of the world that `bartizan demo --keep` has left")


def of_demo() -> Path:
    """ConfigError if no world goes on."""
    world = kept.recall(kept.state_file())
    if world is None:
        raise ConfigError("--demo", "no world goes on; start one with: bartizan demo --keep")
    return world.inside(settings.STATE)


def state_of(args: argparse.Namespace) -> Path:
    """The injector's state directory."""
    if args.state:
        return Path(args.state)
    return of_demo() if args.demo else Path(STATE)
