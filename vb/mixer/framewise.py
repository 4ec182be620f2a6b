"""Legs that are each sent one frame of Opus per tick: most of what a plane with browsers does.

Their frames are encoded by all hands from where they were mixed to where their packets leave. To send the
first packets while the last ones are encoded does not pay: encoders and sockets ask for the lock of the
interpreter at every packet, and wait for each other longer than the work takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vb.codecs.complexity import LEAN, LOWEST_MENDING
from vb.codecs.opus import OpusEncoder
from vb.codecs.opus_runs import EncodeRun
from vb.codecs.pcm import CodecError
from vb.mixer.columns import HEADER_BYTES, MAX_PACKET_BYTES
from vb.mixer.core import PlaneCore
from vb.mixer.frames import Pcm
from vb.mixer.hands import portions
from vb.mixer.port import RtpPort
from vb.rtp.masks import some


class Framed(NamedTuple):
    """A leg whose frames are packets.

    Attributes:
        row: of what it hears.
        port: its port.
        encoder: what its frames are encoded with.
    """

    row: int
    port: RtpPort
    encoder: OpusEncoder


class Framewise:
    """Such legs of one bank, from one layout to the next.

    Attributes:
        ports: theirs.
        slots: theirs.
        slot_list: the same.
        portions: how the work is cut into pieces.

    Args:
        core: the plane.
        legs: which, one at least.
        told: (n, samples) what the legs of the bank hear, in one place until the next layout.
    """

    def __init__(self, core: PlaneCore, legs: Sequence[Framed], told: Pcm) -> None:
        self.ports = [leg.port for leg in legs]
        self.slot_list = [port.slot for port in self.ports]
        self.slots = np.array(self.slot_list, np.int64)
        samples, packets = told.shape[1], core.columns.packets
        first, place = told.ctypes.data, packets.ctypes.data + HEADER_BYTES
        self._core = core
        self._told, self._packets = told, packets  # they have to stay for as long as addresses are written to
        self._run = EncodeRun(
            [leg.encoder for leg in legs],
            samples,
            [first + leg.row * told.strides[0] for leg in legs],
            [place + slot * MAX_PACKET_BYTES for slot in self.slot_list],
        )
        self.portions = portions(len(legs))

    def begin(self, level: int) -> None:
        """Prepare for the frames of a tick: where packets get lost, enough work goes into them to mend some.

        Args:
            level: how much work goes into the others.
        """
        lossy = self._core.columns.lossy[self.slots]
        levels = [level] * self.slots.size
        if level == LEAN and some(lossy):
            levels = np.where(lossy, LOWEST_MENDING, level).tolist()
        self._run.begin(levels)

    def encode(self, start: int, stop: int) -> None:
        """Encode the frames of the legs from `start` to before `stop`, each behind its packet's header."""
        self._run.run(start, stop)

    @property
    def sizes(self) -> list[int]:
        """Size of each payload; below zero where there is none, see `error`."""
        return self._run.sizes

    def error(self, place: int) -> CodecError:
        """Return why a frame has no payload."""
        return self._run.error(place)
