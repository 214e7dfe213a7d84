"""Manifest files for the commands: each object with the file and the lines that it stands in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from injector.cluster.directory import SUFFIXES
from injector.cluster.objects import Object, objects
from injector.yaml_text import Document, YamlError, read_all
from sidecar.model.errors import ConfigError

MAX_FILE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    Args:
        base: path of the object inside its document: `items[2]` in a List, else empty.
    """

    file: str
    data: dict[str, Any]
    document: Document
    base: str = ""

    @property
    def name(self) -> str:
        """`Deployment orders.shop`"""
        one = Object(self.data)
        return f"{one.kind} {one.name}.{one.namespace}" if one.namespace else f"{one.kind} {one.name}"

    def line(self, path: str) -> int:
        return self.document.line(f"{self.base}.{path}" if self.base and path else self.base or path)


def live(data: dict[str, Any]) -> Manifest:
    """An object of a cluster, which stands in no file."""
    return Manifest("", data, Document(data, {}))


def files_in(places: Iterable[str]) -> Iterator[str]:
    """Files as they are named, and of folders all the manifests in them, in order."""
    for place in places:
        if Path(place).is_dir():
            yield from map(str, sorted(one for one in Path(place).rglob("*") if one.suffix in SUFFIXES))
        else:
            yield place


def read_documents(path: str) -> list[Document]:
    """The documents of a file, `-` for standard input. Raises ConfigError or YamlError."""
    try:
        text = Path("/dev/stdin" if path == "-" else path).read_bytes().decode()
    except OSError as exc:
        raise ConfigError(path, f"cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise YamlError(1, "the text is not valid UTF-8") from exc
    return read_all(text, MAX_FILE_BYTES)


def manifests_in(file: str, document: Document) -> Iterator[Manifest]:
    """The objects of one document: one, none, or the items of a List. Raises ConfigError."""
    if document.data is None:
        return
    if not isinstance(document.data, dict) or not isinstance(document.data.get("kind"), str):
        raise ConfigError(file, f"line {document.line('')}: a document is no Kubernetes object: it has no kind")
    if document.data["kind"] != "List":
        yield Manifest(file, document.data, document)
        return
    for i, item in enumerate(objects(document.data.get("items"), "items")):
        yield Manifest(file, item, document, f"items[{i}]")
