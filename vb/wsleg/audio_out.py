"""What a program hears, from the ticks of the plane to frames of its WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vb.codecs.pcm import pcm_bytes
from vb.media.one_rate import OneRate
from vb.mixer.frames import Pcm
from vb.web.message import Message
from vb.wsleg.audio_in import FRAME_MS
from vb.wsleg.losses import Losses
from vb.wsleg.socket import MediaSocket, Outbox
from vb.wsleg.wire import WireFormat, audio_message

_REMEMBERED: Final = 64
"""Different frames of a mix that are kept; those of a tick that is over are never asked for again."""


class AudioOut:
    """A sink of frames that sends them on.

    Args:
        rate_hz: rate that the program hears.
        wire_format: how it gets audio.
        socket: takes the frames.
        outbox: lets them go out together once the tick is over.
        losses: counts what a program that reads too slowly has missed.
        wanted: whether anything is to be heard now.
    """

    def __init__(
        self,
        rate_hz: int,
        wire_format: WireFormat,
        socket: MediaSocket,
        outbox: Outbox,
        losses: Losses,
        wanted: Callable[[], bool],
    ) -> None:
        self._rate = OneRate(rate_hz)
        self._wire_format: WireFormat = wire_format
        self._socket = socket
        self._outbox = outbox
        self._losses = losses
        self._wanted = wanted

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Send 20 ms on, at the program's rate."""
        if not self._wanted():
            return
        message = audio_message(pcm_bytes(self._rate.convert(frame, rate_hz)), self._wire_format)
        if self._socket.put(self._socket.frame(message)):
            self._outbox.add(self._socket)
        else:
            self._losses.add("out", "slow_reader", 1, FRAME_MS)


class SharedFrames:
    """Frames of a mix that many hear alike, each made once.

    What is alike is found by the samples themselves: who says nothing hears the same as all others who do.

    Args:
        noise: returns faint noise to hear instead of nothing, the same for all within a tick; or None.

    Attributes:
        made: how many frames were made.
    """

    def __init__(self, noise: Callable[[], Pcm] | None) -> None:
        self.made = 0
        self._noise = noise
        self._frames: dict[bytes, bytes] = {}

    def get(self, frame: Pcm, make: Callable[[Message], bytes]) -> bytes:
        """Return the WebSocket frame of some audio in JSON."""
        if self._noise is not None and not frame.any():
            frame = self._noise()
        pcm = pcm_bytes(frame)
        found = self._frames.get(pcm)
        if found is None:
            if len(self._frames) >= _REMEMBERED:
                self._frames.clear()
            self.made += 1
            found = self._frames[pcm] = make(audio_message(pcm, "json_base64"))
        return found


class SharedOut:
    """A sink of frames for one who hears a room.

    Args:
        shared: what all who hear it share.
        socket: takes the frames.
        outbox: lets them go out together once the tick is over.
        losses: counts what a program that reads too slowly has missed.
        wanted: whether anything is to be heard now.
    """

    def __init__(
        self,
        shared: SharedFrames,
        socket: MediaSocket,
        outbox: Outbox,
        losses: Losses,
        wanted: Callable[[], bool],
    ) -> None:
        self._shared = shared
        self._socket = socket
        self._outbox = outbox
        self._losses = losses
        self._wanted = wanted

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Send 20 ms on."""
        if not self._wanted():
            return
        if self._socket.put(self._shared.get(frame, self._socket.frame)):
            self._outbox.add(self._socket)
        else:
            self._losses.add("out", "slow_reader", 1, FRAME_MS)
