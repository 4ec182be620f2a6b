"""The state that the stages of the plane share: ports, columns, rings and the way to the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vb.codecs.complexity import Complexity
from vb.ids import IdSource
from vb.mixer.batch import Io
from vb.mixer.columns import LegColumns
from vb.mixer.frames import RATES_HZ, TICKS_PER_S
from vb.mixer.hands import Hands, OneHand
from vb.mixer.resting import Resting
from vb.mixer.sharing import Sharing
from vb.mixer.speaking import Speaking
from vb.mixer.stats import PlaneStatistics
from vb.mixer.streams import StreamReceiver
from vb.mixer.transforms import Transforms
from vb.rtp.arrival import Arrivals
from vb.rtp.latching import SourceLatch
from vb.rtp.playout import Playout, PlayoutSettings
from vb.rtp.ring import PcmRings

if TYPE_CHECKING:
    from vb.mixer.packetizer import Packetizer
    from vb.mixer.port import Port

FaultHandler = Callable[["Port", Exception], None]
RoomFaultHandler = Callable[[str, Exception], None]


class PlaneCore:
    """Shared state of one plane.

    Args:
        io: the way to the network.
        ids: source of SSRCs and first sequence numbers.
        capacity: most ports at once.
        playout: jitter buffer setting.
        pass_through: whether plain pairs of legs skip the room's rate.
        relearn: whether a silent source may be replaced without new SDP.
        complexity: how much work Opus encoders put into a frame.

    Attributes:
        hands: who does the work of codecs with state.
        on_change: told of the first change after each tick; must not wait.
    """

    def __init__(
        self,
        io: Io,
        ids: IdSource,
        *,
        capacity: int,
        playout: PlayoutSettings,
        pass_through: bool,
        relearn: bool,
        complexity: Complexity,
    ) -> None:
        self.io = io
        self.hands: Hands = OneHand()
        self.on_change: Callable[[], None] | None = None
        self.complexity = complexity
        self.ids = ids
        self.pass_through = pass_through
        self.relearn = relearn
        self.columns = LegColumns(capacity)
        self.arrivals = Arrivals(capacity)
        self.playout = Playout(capacity, playout)
        self.rings = {rate: PcmRings(capacity, rate * playout.ring_ms // 1000) for rate in RATES_HZ}
        self.speaking = Speaking(capacity, self._tell_speaking)
        self.statistics = PlaneStatistics()
        self.ports: list[Port | None] = [None] * capacity
        self.latches: list[SourceLatch | None] = [None] * capacity
        self.streams: list[StreamReceiver | None] = [None] * capacity
        self.resting = Resting(capacity)
        self.packetizers: list[Packetizer | None] = [None] * capacity
        self.sharing = Sharing(self)
        self.transforms = Transforms(self)
        self.on_fault: FaultHandler | None = None
        self.on_room_fault: RoomFaultHandler | None = None
        self.now = 0.0
        self.tick = 0
        self.dirty = True
        self.changed: set[int] = set()

    def touch(self, slot: int | None = None) -> None:
        """Say that a port, or a plan when None, changed; the next tick works out its arrays anew."""
        if slot is not None:
            self.changed.add(slot)
        if not self.dirty:
            self.dirty = True
            if self.on_change is not None:
                self.on_change()

    def clear_ring(self, slot: int) -> None:
        """Forget what a leg has sent, before another one has its place or its audio another rate."""
        if self.playout.end[slot]:
            self.ring_of(slot).clear(slot)
            self.playout.end[slot] = 0

    def ring_of(self, slot: int) -> PcmRings:
        """Return the rings in which a leg has its audio."""
        return self.rings[int(self.playout.width[slot]) * TICKS_PER_S]

    def _tell_speaking(self, slot: int, speaking: bool) -> None:
        port = self.ports[slot]
        if port is None:
            return
        try:
            port.on_speaking(speaking)
        except Exception as error:  # the named boundary: one leg's listener must not stop the tick
            self.fault(port, error)

    def fault_at(self, slot: int, error: Exception) -> None:
        """Take the port of a slot out of the plane, if it has one still; see `fault`."""
        port = self.ports[slot]
        if port is not None:
            self.fault(port, error)

    def fault(self, port: Port, error: Exception) -> None:
        """Take a port out of the plane because its codec, source or sink failed."""
        if port.faulted:
            return
        port.faulted = True
        self.statistics.faults += 1
        self.touch(port.slot)
        if self.on_fault is not None:
            self.on_fault(port, error)
