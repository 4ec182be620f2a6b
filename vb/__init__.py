"""vb: a voice server on Trio.

The public names are those below, plus the commands (`vb.commands`) and the events (`vb.events`); every
other module is internal, underscore or not. The server is imported on first use, so that importing `vb`
stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vb.config import Config as Config
from vb.errors import VbError as VbError

if TYPE_CHECKING:
    from vb.server import Server as Server
    from vb.server import open_server as open_server

__all__ = ["Config", "Server", "VbError", "open_server"]


def __getattr__(name: str) -> Any:
    if name in ("Server", "open_server"):
        from vb import server

        return getattr(server, name)
    raise AttributeError(f"module vb has no attribute {name}")
