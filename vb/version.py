"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """Return the version of the package; "unknown" where vb runs without having been installed."""
    try:
        return version("vb")
    except PackageNotFoundError:
        return "unknown"
