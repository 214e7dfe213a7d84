"""What can go wrong in the demo. Both texts name the cause, and the cure where there is one."""

from sidecar.model.errors import MeshError


class DemoError(MeshError):
    """The world cannot be, or did not come up."""


class CheckFailed(MeshError):
    """A check saw something else than it must see."""
