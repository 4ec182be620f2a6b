"""vb: a voice server on Trio.

The public names are those below, plus the models of settings (`vb.config`), the errors (`vb.errors`), the
commands (`vb.commands`) and the events (`vb.events`); every other module is internal, underscore or not.
Each is imported on first use, so that importing `vb` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vb.config import Config as Config
    from vb.errors import VbError as VbError
    from vb.server import Server as Server
    from vb.server import open_server as open_server

__all__ = ["Config", "Server", "VbError", "open_server"]


_HOMES = {"Config": "config", "VbError": "errors", "Server": "server", "open_server": "server"}


if not TYPE_CHECKING:  # or checkers would take any name of this package for one

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(f"vb.{_HOMES[name]}"), name)
        raise AttributeError(f"module vb has no attribute {name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
