"""The images of these tests, without a registry: built here on a Debian that debootstrap made, and kept by what went into them.

    python -m tests.e2e.kubernetes.images      builds what is not there yet

bartizan is the shipped Dockerfile; nothing in it knows of these tests but for its argument BASE.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .node_files import PAUSE
from .programs import CACHE, program

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
FOLDER = CACHE / "images"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,iptables,ca-certificates,curl"
BASE_RECIPE = f"""
set -e
debootstrap --variant=minbase --include={PACKAGES} {SUITE} base $(apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Codename: {SUITE}' | head -1)
rm -rf base/var/cache/apt/archives/*.deb base/var/lib/apt/lists/* base/usr/share/doc base/usr/share/locale
ln -s /usr/bin/python3 base/usr/local/bin/python
tar -C base -cf base.tar .
"""
BASE_FILE = """
FROM scratch
ADD base.tar /
CMD ["sleep", "infinity"]
"""
DNS_FILE = """
FROM scratch
COPY coredns /coredns
ENTRYPOINT ["/coredns"]
"""
# What the shipped Dockerfile copies.
SOURCES = ("Dockerfile", ".ci/requirements.lock", "pyproject.toml", "README.md", "LICENSE", "sidecar", "injector", "certs")
# What a build may see of this machine: how its clients find and trust the networks of their packages.
LENT = ("/etc/ssl/certs", "/etc/pip.conf")
KEPT = 3


@dataclass(frozen=True)
class Images:
    """
    Args:
        archives: files to import where there is no registry.
    """

    bartizan: str = "localhost/bartizan:e2e"
    app: str = "localhost/app:e2e"
    coredns: str = "localhost/coredns:e2e"
    archives: tuple[Path, ...] = ()


def built() -> Images:
    """All of them, as the sources are now."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    base = _Image(PAUSE, _key([BASE_RECIPE, BASE_FILE]))
    if not base.archive.exists():
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            done = subprocess.run(["sh", "-c", BASE_RECIPE], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-4000:]
            Path(folder, "Dockerfile").write_text(BASE_FILE)
            base.build(Path(folder))
    app = _Image(Images.app, _key([base.key, *_texts([HERE / "app"])]))
    if not app.archive.exists():
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            shutil.copytree(HERE / "app", folder, dirs_exist_ok=True)
            for name in ("h2", "hpack", "hyperframe"):
                spec = find_spec(name)
                assert spec is not None
                assert spec.origin is not None
                shutil.copytree(Path(spec.origin).parent, Path(folder, "packages", name), ignore=shutil.ignore_patterns("__pycache__"))
            app.build(Path(folder), base)
    coredns = _Image(Images.coredns, _key([DNS_FILE, str(program("coredns").parent.name)]))
    if not coredns.archive.exists():
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            shutil.copy(program("coredns"), folder)
            Path(folder, "Dockerfile").write_text(DNS_FILE)
            coredns.build(Path(folder))
    bartizan = _Image(Images.bartizan, _key([base.key, *_texts(ROOT / name for name in SOURCES)]))
    if not bartizan.archive.exists():
        bartizan.build(ROOT, base)
    made = (base, app, coredns, bartizan)
    for image in made:
        image.forget_others()
    return Images(archives=tuple(image.archive for image in made))


@dataclass(frozen=True)
class _Image:
    name: str
    key: str

    @property
    def archive(self) -> Path:
        return FOLDER / f"{self.stem}-{self.key}.tar"

    @property
    def stem(self) -> str:
        return self.name.rpartition("/")[2].partition(":")[0]

    def build(self, folder: Path, base: "_Image | None" = None) -> None:
        """By the Dockerfile in the folder. Layers that did not change are not built again."""
        lent = [f"--volume={path}:{path}:ro" for path in LENT if Path(path).exists()]
        of = [f"--build-arg=BASE={base.name}"] if base is not None else []
        # No namespaces: some machines' root cannot make all of those that buildah would.
        _buildah("build", "--isolation=chroot", "--layers", *lent, *of, f"--tag={self.name}", str(folder))
        fresh = self.archive.with_suffix(f".{os.getpid()}")
        _buildah("push", self.name, f"docker-archive:{fresh}:{self.name}")
        fresh.rename(self.archive)

    def forget_others(self) -> None:
        """All but a few of the latest."""
        self.archive.touch()
        for old in sorted(FOLDER.glob(f"{self.stem}-*.tar"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink()


def _buildah(*arguments: str) -> None:
    store = ["--root", str(FOLDER / "store"), "--runroot", str(FOLDER / "run")]
    done = subprocess.run(["buildah", *store, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"buildah {' '.join(arguments)}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


def _texts(paths: Iterable[Path]) -> list[str]:
    """Names and contents."""
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))
                   if file.is_file() and "__pycache__" not in file.parts)
    return [part for file in files for part in (str(file.name), hashlib.sha256(file.read_bytes()).hexdigest())]


def _key(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{path}\n" for path in built().archives))
