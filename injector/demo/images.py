"""Images without a registry: what a container's `image` means here.

`bartizan` is this very program; `bartizan-demo-app` the demo's applications; any other image is the machine's own file system,
and the container's command must be on it. Program and interpreter are made visible at /run/image, since the UIDs of containers
cannot read a home directory; the program's files are copied, so that a world that goes on is not changed under its feet.
"""

import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import trio

from .errors import DemoError
from .modes import search_path
from .network import command

IMAGE = Path("/run/image")
SOURCE = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.executable).resolve()
PREFIX = Path(sys.base_prefix).resolve()
OURS = ("sidecar", "injector", "certs")


@dataclass(frozen=True, slots=True)
class Image:
    """What an image brings along; `command` of the container replaces the entrypoint."""

    entrypoint: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Images:
    """
    Args:
        python: the interpreter as containers see it.
        env: what every image sets.
    """

    python: str
    env: tuple[tuple[str, str], ...]

    def find(self, reference: str) -> Image:
        """The image that a reference means; registry, tag and digest do not matter."""
        name = reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
        entrypoint: dict[str, tuple[str, ...]] = {
            "bartizan": (self.python, "-m", "injector.cli.main"),
            "bartizan-demo-app": (self.python, "-m", "injector.demo.apps"),
        }
        return Image(entrypoint.get(name, ()), self.env)


async def build() -> Images:
    """Fill /run/image. The world's own mount namespace and a /run of its own are assumed."""
    target = IMAGE / "program"
    await trio.to_thread.run_sync(_copy, SOURCE, target)
    folders = [str(target)]
    for number, packages in enumerate(_package_folders()):
        _require_readable(packages)
        folder = IMAGE / f"packages{number}"
        folder.mkdir()
        await command(["mount", "--bind", str(packages), str(folder)])
        folders.append(str(folder))
    python = PYTHON
    libraries: tuple[tuple[str, str], ...] = ()
    if Path("/usr") != PREFIX and PYTHON.is_relative_to(PREFIX):   # not the system's: may well lie in somebody's home
        folder = IMAGE / "python"
        folder.mkdir()
        await command(["mount", "--bind", str(PREFIX), str(folder)])
        python = folder / PYTHON.relative_to(PREFIX)
        # Its run path leads to where it was; without this the loader would take the system's libpython of the same name.
        libraries = (("LD_LIBRARY_PATH", str(folder / "lib")),)
    return Images(str(python), (
        *libraries,
        ("PATH", f"{python.parent}:{search_path()}"), ("HOME", "/tmp"), ("LANG", "C.UTF-8"),
        ("PYTHONPATH", ":".join(folders)), ("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUNBUFFERED", "1"),
    ))


def _copy(source: Path, target: Path) -> None:
    for name in OURS:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
    for folder, _, files in os.walk(target):   # whatever the umask was at the time of the checkout
        os.chmod(folder, 0o755)
        for file in files:
            os.chmod(os.path.join(folder, file), 0o644)


def _package_folders() -> list[Path]:
    found = [Path(item).resolve() for item in sys.path if Path(item).name in ("site-packages", "dist-packages")]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _require_readable(packages: Path) -> None:
    marker = packages / "trio" / "__init__.py"
    if marker.exists() and not marker.stat().st_mode & stat.S_IROTH:
        raise DemoError(f"containers run as other users and cannot read {packages}; allow it: chmod -R go+rX {packages}")
