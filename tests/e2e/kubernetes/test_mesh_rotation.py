"""Certificates end, and nobody notices."""

import pytest

from tests.helpers.pods import wait_until

from .conftest import Lasting
from .mesh import LIFETIME_S

pytestmark = pytest.mark.timeout(900)


def test_certificates_are_renewed_under_load(lasting: Lasting) -> None:
    with lasting.space.load("web", lasting.space.url("orders")) as seen:
        wait_until(lambda: lasting.certificate() != lasting.first, lambda: "it is still the same", LIFETIME_S)
    assert list(seen) == ["200"], seen
