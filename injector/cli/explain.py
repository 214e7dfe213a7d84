"""`bartizan explain CODE...`: what a code means and what to do; codes of refusals and of findings alike, by number or by name."""

import argparse
import difflib
import sys

from injector.findings import Finding
from sidecar.model.reason import Reason

from .exits import USAGE


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bartizan explain", description="What a reason code means, and what to do.")
    parser.add_argument("codes", nargs="*", metavar="CODE", help="BZ0102, or identity-not-allowed; without it: all of them")
    codes = parser.parse_args(argv).codes
    known: list[Reason | Finding] = [*Reason, *Finding]
    if not codes:
        for one in known:
            print(f"{one.code}  {one.token}")
        return 0
    found = {name: one for one in known for name in (one.code.lower(), one.token)}
    for code in codes:
        if code.lower() not in found:
            near = difflib.get_close_matches(code.lower(), found, n=1, cutoff=0.5)
            cure = f"did you mean {found[near[0]].code} {found[near[0]].token}?" if near else "`bartizan explain` lists them"
            print(f"bartizan: there is no code {code!r}; {cure}", file=sys.stderr)
            return USAGE
    explained = (found[code.lower()] for code in codes)
    print("\n\n".join(f"{one.code} {one.token}\n\ncause  {one.cause}\ncure   {one.cure}" for one in explained))
    return 0
