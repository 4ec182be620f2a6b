"""All commands; importing this module registers every one of them."""

from __future__ import annotations

from vb.commands import dtmf, legs, media, rooms
from vb.commands.registry import REGISTRY, Command, call, dump

COMMAND_MODULES = (legs, rooms, media, dtmf)

__all__ = ["COMMAND_MODULES", "REGISTRY", "Command", "call", "dump"]
