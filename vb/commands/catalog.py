"""All commands; importing this module registers every one of them."""

from __future__ import annotations

from vb.commands import (
    agents,
    bridges,
    calls,
    dtmf,
    legs,
    playback,
    recording,
    rooms,
    routing,
    rtt,
    speech,
    stt,
    transfer,
    tts,
    webrtc,
)
from vb.commands.registry import REGISTRY, Command, call, dump

# Importing them is what counts; the tuple shows linters and readers that it was meant.
COMMAND_MODULES = (
    agents,
    legs,
    transfer,
    rooms,
    routing,
    bridges,
    playback,
    recording,
    dtmf,
    rtt,
    speech,
    stt,
    tts,
    webrtc,
    calls,
)

__all__ = ["COMMAND_MODULES", "REGISTRY", "Command", "call", "dump"]
