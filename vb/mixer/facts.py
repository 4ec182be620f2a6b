"""What the layout asks of each port, as columns: worked out when a port has changed, not with every layout.

Whoever changes a port says so (`PlaneCore.touch` with its slot). With the next tick its row is written anew,
and the rows of all others stand, so that one who leaves a room of thousands costs no look at each of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

from vb.codecs.base import Codec, has_rates
from vb.mixer.port import Port, RtpPort, StreamPort

if TYPE_CHECKING:
    from vb.mixer.core import PlaneCore

TABLES: Final = ("PCMU", "PCMA")
"""Codecs that are coded by table, in the order in which `PortFacts.table` numbers them."""
NO_TABLE: Final = -1
NO_FORMAT: Final = -1


class PortFacts:
    """Columns indexed by slot.

    Attributes:
        usable: takes part in the mix.
        rate_hz: rate at which it is mixed while it is in no room.
        transmitting: packets go out in each tick.
        single: of those, what it is sent is built for itself: its codec has state, or it dials.
        table: of the others, its codec's place in `TABLES`.
        format: number of its codec and packet time where it hears a room and nothing else, else `NO_FORMAT`.
        phased: its packets take several ticks, and their phase is part of what it has in common with others.
        packeted: has an encoder.
        shy: has one that remembers for ever what else it has heard.
        decoded: its packets wait for a decoder.
        special: needs more than arithmetic: playback or taps of its own, or no RTP.
        unheard: is played to and has no codec yet.
        follows: its codec can run at the rate of its room.
        extras: slots that are special or unheard.

    Args:
        capacity: number of slots.
    """

    def __init__(self, capacity: int) -> None:
        self.usable = np.zeros(capacity, np.bool_)
        self.rate_hz = np.zeros(capacity, np.int64)
        self.transmitting = np.zeros(capacity, np.bool_)
        self.single = np.zeros(capacity, np.bool_)
        self.table = np.full(capacity, NO_TABLE, np.int8)
        self.format = np.full(capacity, NO_FORMAT, np.int64)
        self.phased = np.zeros(capacity, np.bool_)
        self.packeted = np.zeros(capacity, np.bool_)
        self.shy = np.zeros(capacity, np.bool_)
        self.decoded = np.zeros(capacity, np.bool_)
        self.special = np.zeros(capacity, np.bool_)
        self.unheard = np.zeros(capacity, np.bool_)
        self.follows = np.zeros(capacity, np.bool_)
        self.extras: set[int] = set()
        self._formats: dict[tuple[Codec, int], int] = {}

    def note(self, core: PlaneCore, slots: Iterable[int]) -> None:
        """Write the rows of ports that have changed, come or gone."""
        for slot in slots:
            port = core.ports[slot]
            packetizer = core.packetizers[slot]
            self.packeted[slot] = packetizer is not None
            self.phased[slot] = packetizer is not None and packetizer.copyable and packetizer.phased
            self.shy[slot] = packetizer is not None and not packetizer.converges
            self.decoded[slot] = core.streams[slot] is not None
            self._note_port(slot, port)
            if isinstance(port, RtpPort):
                self._note_rtp(slot, port)
            else:
                self.transmitting[slot] = self.single[slot] = self.follows[slot] = False
                self.table[slot], self.format[slot] = NO_TABLE, NO_FORMAT

    def _note_port(self, slot: int, port: Port | None) -> None:
        if port is None or port.closed or port.faulted:
            self.usable[slot] = self.special[slot] = self.unheard[slot] = False
            self.extras.discard(slot)
            return
        self.usable[slot] = port.rate_hz > 0
        self.rate_hz[slot] = port.rate_hz
        unheard = self.unheard[slot] = bool(port.private) and not port.rate_hz
        special = isinstance(port, StreamPort) or bool(port.private or port.tap_in or port.tap_out)
        self.special[slot] = special
        (self.extras.add if special or unheard else self.extras.discard)(slot)

    def _note_rtp(self, slot: int, port: RtpPort) -> None:
        agreed = port.agreed
        self.transmitting[slot] = port.transmitting
        self.single[slot] = bool(self.packeted[slot]) or port.dialling
        self.table[slot], self.format[slot] = NO_TABLE, NO_FORMAT
        self.follows[slot] = agreed is not None and has_rates(agreed.send_codec)
        if agreed is None:
            return
        if agreed.send_codec.tabled:
            self.table[slot] = TABLES.index(agreed.send_codec.name)
        if port.shares:
            key = (agreed.send_codec, agreed.ptime_ms)
            self.format[slot] = self._formats.setdefault(key, len(self._formats))
