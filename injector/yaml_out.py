"""Objects as YAML, for people to read: texts of several lines as they are, fields in the order in which they were made."""

from collections.abc import Iterable
from typing import Any

import yaml  # noqa: TID251 -- the one writer of YAML

WIDTH = 140


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:     # what is there twice is written twice
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def write_yaml(objects: Iterable[Any], *, width: float = WIDTH) -> str:
    """A document for each.

    Args:
        width: of lines; infinite: every text without line breaks of its own stands in one.
    """
    return "---\n".join(yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=width, allow_unicode=True) for one in objects)
