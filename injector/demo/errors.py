"""What can go wrong in the demo. Both texts name the cause, and the cure where there is one."""

import trio

from sidecar.model.errors import MeshError


class DemoError(MeshError):
    """The world cannot be, or did not come up."""


class CheckFailed(MeshError):
    """A check saw something else than it must see."""


def causes(exc: BaseException) -> list[BaseException]:
    """What a tree of exception groups comes down to, without the cancellations."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for child in exc.exceptions for leaf in causes(child)]
    return [] if isinstance(exc, trio.Cancelled) else [exc]
