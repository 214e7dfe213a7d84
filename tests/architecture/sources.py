"""The sources as trees: who imports what, who calls what. Nothing is imported to find out."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("sidecar", "injector", "certs")


class Source(NamedTuple):
    """One file, named from the root: `sidecar/net/dial.py`."""

    name: str
    tree: ast.Module

    @property
    def module(self) -> str:
        return ".".join(Path(self.name).with_suffix("").parts).removesuffix(".__init__")


def sources(*folders: str) -> list[Source]:
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [Source(str(path.relative_to(ROOT)), ast.parse(path.read_text(), str(path))) for path in paths]


def imports(source: Source) -> set[str]:
    """The modules, and names in modules, that the file imports anywhere in it: `sidecar.net.dial`, `sidecar.net.dial.Dialer`."""
    found: set[str] = set()
    package = source.module if source.name.endswith("__init__.py") else source.module.rpartition(".")[0]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def calls(source: Source) -> Iterator[str]:
    """The names of what the file calls: `Permit`, `socket.socket`, `self.pool.take_nowait`."""
    return (ast.unparse(node.func) for node in ast.walk(source.tree) if isinstance(node, ast.Call))
