import pytest

from .support import IMAGES


@pytest.mark.parametrize(("reference", "entrypoint"), [
    ("bartizan", ("/usr/bin/python3", "-m", "injector.cli.main")),
    ("registry:5000/team/bartizan:0.1@sha256:00", ("/usr/bin/python3", "-m", "injector.cli.main")),
    ("bartizan-demo-app:1", ("/usr/bin/python3", "-m", "injector.demo.apps")),
    ("nginx", ()),
    ("", ()),
])
def test_what_an_image_means_here(reference: str, entrypoint: tuple[str, ...]) -> None:
    assert IMAGES.find(reference).entrypoint == entrypoint
