from collections.abc import Iterator

import pytest

from sidecar.model import errors
from sidecar.model.errors import ConfigError, ProtocolViolation, ReasonedError, Unavailable
from sidecar.model.reason import Reason


def leaves(base: type[ReasonedError]) -> Iterator[type[ReasonedError]]:
    for kind in base.__subclasses__():
        yield from leaves(kind) if kind.__subclasses__() else (kind,)


@pytest.mark.parametrize("kind", list(leaves(ReasonedError)))
def test_every_leaf_knows_its_reason(kind: type[ReasonedError]) -> None:
    if kind is ProtocolViolation:
        error: ReasonedError = ProtocolViolation(Reason.BAD_HEAD, "what")
    elif kind is Unavailable:
        error = Unavailable(Reason.NO_IDENTITY, "what")
    else:
        error = kind("what")
    assert isinstance(error.reason, Reason)
    assert (str(error), error.detail) == ("what", "what")


def test_without_detail_the_reason_speaks() -> None:
    assert str(errors.NoEndpoint()) == "no-endpoint"
    assert str(Unavailable(Reason.NO_SNAPSHOT)) == "no-snapshot"


def test_a_config_error_says_where() -> None:
    assert str(ConfigError("a.b", "must be > 0")) == "a.b: must be > 0"
    assert str(ConfigError("", "is no JSON")) == "is no JSON"
