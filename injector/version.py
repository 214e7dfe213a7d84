"""Which version this is: one number for every part, that of the package."""

from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "unknown"


def own_version() -> str:
    """UNKNOWN where the sources run without having been installed."""
    try:
        return version("bartizan")
    except PackageNotFoundError:
        return UNKNOWN
