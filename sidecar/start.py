"""The first thing that runs in a pod: it keeps out what libraries load and no sidecar uses, then `main` takes over.

trio and hashlib load Python's own OpenSSL, beside the one that `cryptography` brings and that all our TLS goes through: 5 MB in every
pod for nothing. So `ssl` is loaded when somebody asks it for something, which nobody does, and hashlib computes SHA-2 by itself, as
it does where Python was built without OpenSSL. `cryptography` loads bcrypt, if it is there, for files that we never read; what
verifies passwords at the edge loads it with the first one. trio and dnspython load `idna`, for names that are not ASCII, which nobody
here speaks, and dnspython all that reads the metadata of packages, to ask for idna's version: 1.4 MB and 15 ms.
"""

import importlib
import sys
from types import ModuleType


class Later(ModuleType):
    """Stands for the module of its name until somebody asks it for something. (importlib's LazyLoader loads at the second import.)"""

    def __getattr__(self, name: str) -> object:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def main(argv: list[str]) -> int:
    keep_out()
    from .main import main as run  # it imports trio

    return run(argv)


def gateway(argv: list[str]) -> int:
    """`bartizan gateway`."""
    keep_out()
    from .main import main as run

    return run(argv, is_gateway=True)


def keep_out() -> None:
    """Before anything imports trio or hashlib; what is loaded already stays."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    modules.setdefault("_hashlib", None)    # what the import system takes for `not there`
    modules.setdefault("bcrypt", None)
    for name in ("ssl", "idna", "importlib.metadata"):
        modules.setdefault(name, Later(name))
