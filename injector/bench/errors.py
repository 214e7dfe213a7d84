"""What can go wrong in a benchmark."""

from sidecar.model.errors import MeshError


class BenchError(MeshError):
    """The benchmark cannot be run; the text names the cause and the cure."""


class NotAvailable(MeshError):
    """One proxy cannot do one workload; the text says why. Its row says so, and the others go on."""
