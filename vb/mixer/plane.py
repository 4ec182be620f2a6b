"""The media plane: every leg's audio, received, mixed and sent in one pass per tick.

It is synchronous arithmetic on arrays indexed by leg; `vb.mixer.tasks` gives it a clock and sockets. It never
waits and calls nothing but sources, sinks and the fault handlers that it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from vb.codecs.base import CodecError
from vb.codecs.complexity import Complexity
from vb.ids import IdSource
from vb.mixer.batch import Batch, Endpoint, Io
from vb.mixer.core import FaultHandler, PlaneCore, RoomFaultHandler
from vb.mixer.demux import Demux
from vb.mixer.due import decode_due
from vb.mixer.egress import Egress
from vb.mixer.facts import PortFacts
from vb.mixer.frames import RATES_HZ, TICKS_PER_S, FrameSink, FrameSource
from vb.mixer.hands import Hands, OneHand
from vb.mixer.ingest import Ingest
from vb.mixer.layout import Layout, compile_layout, slots_of
from vb.mixer.mix import Mixer
from vb.mixer.noise import noise_loop
from vb.mixer.plan import MixPlan
from vb.mixer.playback import Playback
from vb.mixer.port import RtpPort, StreamPort
from vb.mixer.stats import PlaneStatistics
from vb.rtp.latching import SILENCE_S
from vb.rtp.masks import some, true_places
from vb.rtp.playout import PlayoutSettings

CAPACITY: Final = 4096
_CONTROL_TICKS: Final = 4
_CONTROL_TURNS: Final = 2 * TICKS_PER_S // _CONTROL_TICKS
"""Every fourth tick looks at one leg in twenty-five, so each leg has its turn every two seconds."""


_FOLLOWING: Final = 8
"""Legs whose codecs change their rate in one tick."""


class Plane:
    """All rooms and legs of one process.

    Args:
        io: the way to the network.
        ids: source of SSRCs and first sequence numbers.
        capacity: most ports at once.
        batch_rows: most packets taken in one tick.
        playout: jitter buffer setting.
        pass_through: whether plain pairs of legs skip the room's rate (media rule 11).
        relearn: whether a silent source may be replaced without new SDP (media rule 5).
        complexity: how much work Opus encoders put into a frame; it follows the load when None.
    """

    def __init__(
        self,
        io: Io,
        ids: IdSource,
        *,
        capacity: int = CAPACITY,
        batch_rows: int = CAPACITY,
        playout: PlayoutSettings | None = None,
        pass_through: bool = True,
        relearn: bool = True,
        complexity: Complexity | None = None,
    ) -> None:
        self._core = PlaneCore(
            io,
            ids,
            capacity=capacity,
            playout=playout or PlayoutSettings(),
            pass_through=pass_through,
            relearn=relearn,
            complexity=complexity or Complexity(),
        )
        self._facts = PortFacts(capacity)
        self._batch = Batch(batch_rows)
        self._demux = Demux(self._core)
        self._ingest = Ingest(self._core, self._demux)
        self._playback = Playback(self._core)
        self._mixer = Mixer(self._core)
        self._egress = Egress(self._core, self._facts)
        self._layout = Layout([], [])
        self._plans: dict[str, MixPlan] = {}
        self._numbers: dict[str, int] = {}
        self._numbered = 0
        for rate_hz in RATES_HZ:
            noise_loop(rate_hz)

    @property
    def statistics(self) -> PlaneStatistics:
        """Totals since the plane was made."""
        return self._core.statistics

    @property
    def socket_errors(self) -> Mapping[str, int]:
        """What the sockets of the legs refused, by error number or reason."""
        return self._core.io.errors

    @property
    def complexity(self) -> Complexity:
        """How much work Opus encoders put into a frame; whoever runs the ticks tells it of each."""
        return self._core.complexity

    @property
    def ports(self) -> int:
        """How many ports are open."""
        return self._core.columns.used

    def set_fault_handlers(
        self, on_fault: FaultHandler, on_room_fault: RoomFaultHandler | None = None
    ) -> None:
        """Say who is told of legs, and of rooms' sources and taps, that failed. They must not wait."""
        self._core.on_fault = on_fault
        self._core.on_room_fault = on_room_fault

    def set_hands(self, hands: Hands | None) -> None:
        """Say who does the work of codecs from the next tick on; the caller of `tick` alone when None."""
        self._core.hands = hands or OneHand()

    def set_time(self, now: float) -> None:
        """Tell the time before the first tick."""
        self._core.now = now

    @property
    def at_rest(self) -> bool:
        """Whether ticks would change nothing until somebody comes: nobody is there, and all has settled."""
        core = self._core
        return not (core.columns.used or core.dirty or core.playout.forgiving) and core.complexity.settled

    def go_on(self, now: float, rested: int) -> None:
        """Tell the time after a rest, and the number of ticks that it took the place of."""
        self._core.now = now
        self._core.tick += rested

    def set_on_change(self, on_change: Callable[[], None] | None) -> None:
        """Say who is told of the first change after each tick, if anybody is. It must not wait."""
        self._core.on_change = on_change

    def open_port(self, endpoint: Endpoint) -> RtpPort:
        """Attach an RTP leg; it is in no room, and nothing is sent until it is configured and `sending`.

        Raises:
            PlaneFull: there are as many ports as the plane was made for.
        """
        core = self._core
        slot = core.columns.claim()
        core.touch(slot)  # first of all: after a rest it is told the time with that
        port = RtpPort(core, slot)  # what arrived at its place before is forgotten since the last one left it
        core.columns.heard_at[slot] = core.now
        core.latches[slot] = port.latch
        core.ports[slot] = port
        core.io.attach(slot, endpoint)
        return port

    def open_stream(
        self,
        source: FrameSource | None,
        sink: FrameSink | None,
        *,
        rate_hz: int = 16000,
        comfort_noise: bool = True,
    ) -> StreamPort:
        """Attach a participant whose audio does not come by RTP.

        Args:
            source: what it says, or None.
            sink: gets what it hears, or None.
            rate_hz: rate of its audio while it is in no room.
            comfort_noise: whether faint noise may fill what it hears, for ears rather than for another room.

        Raises:
            PlaneFull: there are as many ports as the plane was made for.
            ValueError: the plane has no such rate.
        """
        if rate_hz not in RATES_HZ:
            raise ValueError(f"no participant is mixed at {rate_hz} Hz")
        slot = self._core.columns.claim()
        port = StreamPort(self._core, slot, source, sink, rate_hz, comfort_noise=comfort_noise)
        self._core.ports[slot] = port
        self._core.touch(slot)
        return port

    def publish(self, plan: MixPlan) -> None:
        """Replace a room's plan; the next tick sees it whole.

        A participant who is new in the plan leaves any other room by it, so that a move is never heard twice.
        """
        before = self._plans.get(plan.room_id)
        number = self._numbers.get(plan.room_id)
        if number is None:
            self._numbered += 1
            number = self._numbers[plan.room_id] = self._numbered
        owner, slots = self._core.columns.owner, slots_of(plan.handles)
        known = np.zeros(owner.size, np.bool_)
        if before is not None:
            known[slots_of(before.handles)] = True
        owner[slots[~known[slots] | (owner[slots] == 0)]] = number
        self._plans[plan.room_id] = plan
        mine = slots[owner[slots] == number]
        self._core.columns.room_hz[mine] = plan.rate_hz
        known[slots] = False
        owner[known & (owner == number)] = 0
        self._core.touch()

    def withdraw(self, room_id: str) -> None:
        """Forget a room; its members are in no room then."""
        plan = self._plans.pop(room_id, None)
        if plan is not None:
            owner, number = self._core.columns.owner, self._numbers.pop(room_id)
            owner[owner == number] = 0
            self._core.touch()

    def tick(self, now: float, tick_at: float) -> None:
        """Run one tick.

        Args:
            now: monotonic time.
            tick_at: nominal time of this tick, on the 20 ms grid.
        """
        core = self._core
        core.now = now
        core.tick += 1
        core.statistics.ticks += 1
        core.playout.tick()
        if core.dirty:
            self._adopt()
        count = core.io.drain(self._batch)
        self._ingest.receive(self._batch, count, tick_at)
        for bank in self._layout.banks:
            decode_due(core, bank)
            self._playback.play(bank)
            if core.speaking.active:
                core.speaking.hear(bank.slots, bank.heard, self._playback.arrived(bank))
        for mix_class in self._layout.classes:
            self._mixer.mix(mix_class)
        self._mixer.play_unheard(self._layout.unheard)
        self._egress.send()
        core.speaking.tell_changes()
        self._control(now)

    def skip(self, ticks: int) -> None:
        """Let ticks pass unplayed: the process was held up for too long to make them up."""
        self._egress.skip(ticks)
        core, playout = self._core, self._core.playout
        playout.skip(ticks)
        # What was skipped without having come counts as heard, and is what a gap would be covered with.
        for slot in true_places(playout.started & (playout.next > playout.end)).tolist():
            stop = int(playout.next[slot])
            core.ring_of(slot).punch(
                slot, max(int(playout.end[slot]), stop - 2 * int(playout.width[slot])), stop
            )

    def _adopt(self) -> None:
        """Work out the arrays anew after changes."""
        core = self._core
        core.dirty = False
        self._facts.note(core, core.changed)
        core.changed.clear()
        self._follow_rooms()
        rooms = [(self._numbers[room_id], plan) for room_id, plan in self._plans.items()]
        self._layout = compile_layout(core, self._facts, rooms)
        core.sharing.adopt(self._layout)
        self._mixer.adopt(self._layout)
        self._egress.adopt(self._layout)
        self._mixer.forget_broken(
            part for plan in self._plans.values() for part in (*plan.sources, *plan.taps)
        )

    def _follow_rooms(self) -> None:
        """Let codecs run at the rates of their legs' new rooms, some at a time: each begins a coder anew."""
        core, facts, reach = self._core, self._facts, self._core.columns.reach
        if not facts.follows[:reach].any():
            return
        room_hz = core.columns.room_hz[:reach]
        others = facts.follows[:reach] & facts.usable[:reach] & (room_hz != facts.rate_hz[:reach])
        others &= room_hz > 0
        if not others.any():
            return
        slots = true_places(others)
        for slot in slots[:_FOLLOWING].tolist():
            port = core.ports[slot]
            if isinstance(port, RtpPort):
                try:
                    port.follow_room()
                except CodecError as error:
                    core.fault(port, error)
        self._facts.note(core, core.changed)
        core.changed.clear()
        core.dirty = slots.size > _FOLLOWING

    def _control(self, now: float) -> None:
        """Look at the legs whose turn it is: their delay, and whether their source fell silent."""
        core = self._core
        if core.tick % _CONTROL_TICKS:
            return
        first = core.tick // _CONTROL_TICKS % _CONTROL_TURNS
        if first >= core.columns.reach:
            return
        turn = np.arange(first, core.columns.reach, _CONTROL_TURNS)
        turn = turn[core.columns.listening[turn]]
        if not turn.size:
            return
        silent = now - core.columns.heard_at[turn] >= SILENCE_S
        if some(silent):
            self._demux.watch_silent(turn[silent].tolist())
        started = turn[core.playout.started[turn]]
        jitter_s = core.arrivals.jitter[started] / core.arrivals.clock_hz[started]
        core.playout.control(started, jitter_s, now)
