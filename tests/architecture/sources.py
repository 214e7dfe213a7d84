"""Our sources as syntax trees: what the tests of the architecture ask."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sidecar", "certs", "injector")


def files() -> list[str]:
    """Every source file, by its path from the root."""
    return sorted(str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


def imports(file: str) -> Iterator[str]:
    """The modules that a file imports, by full name, also within functions; of `from a import b` both `a` and `a.b`."""
    package = Path(file).parent.parts
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (*package[:len(package) - node.level + 1], *([node.module] if node.module else [])) if node.level else (node.module,)
            name = ".".join(filter(None, base))
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def calls(file: str) -> Iterator[str]:
    """What a file calls by a plain name or as an attribute: `Permit`, `socket`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr
