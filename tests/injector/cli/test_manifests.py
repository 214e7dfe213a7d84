from pathlib import Path

import pytest

from injector.cli.manifests import Manifest, manifests_in, read_documents
from sidecar.model.errors import ConfigError

TEXT = """\
kind: Namespace
metadata: {name: shop}
---
kind: List
items:
- kind: Pod
  metadata:
    name: web
    namespace: shop
---
"""


def _read(path: Path) -> list[Manifest]:
    return [manifest for document in read_documents(str(path)) for manifest in manifests_in(str(path), document)]


def test_objects_know_their_names_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    namespace, pod = _read(path)
    assert (namespace.name, namespace.line("metadata.name")) == ("Namespace shop", 2)
    assert (pod.name, pod.line("metadata.name"), pod.line("")) == ("Pod web.shop", 8, 6)


def test_what_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("- a\n")
    with pytest.raises(ConfigError, match="no kind"):
        _read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_documents(str(tmp_path / "nowhere"))
