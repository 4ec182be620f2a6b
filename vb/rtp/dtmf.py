"""Telephone-events: digits received, and the packets of digits sent.

Spec: RFC 4733 §2.
"""

import struct
from collections import deque
from dataclasses import dataclass
from typing import Final

from vb.rtp.sequence import difference32

DIGITS: Final = "0123456789*#ABCD"
"""Every DTMF digit at the place of its event code."""
END_TIMEOUT_S: Final = 0.12
"""Without a packet for this long an event is over, though no end was seen."""
MAX_PENDING_DIGITS: Final = 256
TICK_MS: Final = 20

_EVENT_CODES = {digit: code for spelling in (DIGITS, DIGITS.lower()) for code, digit in enumerate(spelling)}
_EVENT = struct.Struct("!BBH")
_END_BIT = 0x80
_MAX_DURATION = 0xFFFF
_REMEMBERED_EVENTS = 8

_TONE_TICKS = 5
_END_PACKETS = 3
_PACKETS = _TONE_TICKS - 1 + _END_PACKETS
_GAP_TICKS = 3
"""Ticks without a packet after a digit: the receiver hears 100 ms of tone and 100 ms of pause."""
_VOLUME = 10
"""Loudness of the tone the receiver may play, in −dBm0."""


@dataclass(slots=True)
class _Running:
    """An event whose end has not been seen."""

    timestamp: int
    event: int
    duration: int
    seen_at: float


class TelephoneEventReceiver:
    """Turns the telephone-event packets of one stream into digits, each exactly once.

    An event is known by its timestamp. It counts when an end packet arrives, when the next event begins or
    when its packets cease, so neither a lost start nor lost ends lose the digit.
    """

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._finished: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_EVENTS)

    @property
    def deadline(self) -> float | None:
        """When to call `expire`, or None while no event is under way."""
        return None if self._running is None else self._running.seen_at + END_TIMEOUT_S

    def receive(self, payload: bytes, timestamp: int, now: float) -> str:
        """Take one telephone-event payload with its packet's RTP timestamp.

        Returns:
            The digits that ended with it, in order: mostly none, two when an event whose ends were lost is
            followed by one of which only an end arrived.
        """
        if len(payload) < _EVENT.size:
            return ""
        event, flags, duration = _EVENT.unpack_from(payload)
        if event >= len(DIGITS) or self._is_finished(event, timestamp):
            return ""
        ended = ""
        running = self._running
        if running is None or not self._belongs(running, event, timestamp):
            if running is not None:
                if timestamp == running.timestamp or difference32(timestamp, running.timestamp) < 0:
                    return ""
                ended = self._finish(running)
            running = self._running = _Running(timestamp, event, duration, now)
        running.timestamp = timestamp
        running.duration = duration
        running.seen_at = now
        if flags & _END_BIT:
            ended += self._finish(running)
        return ended

    def expire(self, now: float) -> str:
        """Return the digit whose packets ceased, once its deadline has passed."""
        deadline = self.deadline
        if self._running is None or deadline is None or now < deadline:
            return ""
        return self._finish(self._running)

    def _belongs(self, running: _Running, event: int, timestamp: int) -> bool:
        """Tell whether a packet continues the event under way, in its next segment perhaps (§2.5.1.3)."""
        if event != running.event:
            return False
        return difference32(timestamp, running.timestamp) in (0, _MAX_DURATION)

    def _is_finished(self, event: int, timestamp: int) -> bool:
        """Tell whether a packet is of an event that has counted, or of a segment that continues one."""
        for known, code in self._finished:
            if timestamp == known:
                return True
            if event == code and difference32(timestamp, known) == _MAX_DURATION:
                self._finished.append((timestamp, event))
                return True
        return False

    def _finish(self, running: _Running) -> str:
        self._running = None
        self._finished.append((running.timestamp, running.event))
        return DIGITS[running.event]


@dataclass(frozen=True, slots=True)
class EventPacket:
    """One telephone-event packet to send: the RTP timestamp is that of the event's start."""

    payload: bytes
    timestamp: int
    marker: bool


class TelephoneEventSender:
    """Cuts queued digits into one packet a tick: 100 ms of tone, three ends, 60 ms without packets.

    Args:
        clock_rate_hz: the negotiated clock of the telephone-event format.
    """

    def __init__(self, clock_rate_hz: int) -> None:
        self._tick_duration = clock_rate_hz * TICK_MS // 1000
        self._pending: deque[int] = deque()
        self._event: int | None = None
        self._start_timestamp = 0
        self._tick = 0

    @property
    def active(self) -> bool:
        """Whether digits are going out or waiting: no audio is sent meanwhile."""
        return self._event is not None or bool(self._pending)

    def queue(self, digits: str) -> bool:
        """Append digits, letters in any case; characters that are no digit are skipped.

        Returns:
            False when the queue has no room for all of them; then none is taken.
        """
        events = [_EVENT_CODES[digit] for digit in digits if digit in _EVENT_CODES]
        if len(self._pending) + len(events) > MAX_PENDING_DIGITS:
            return False
        self._pending.extend(events)
        return True

    def tick(self, timestamp: int) -> EventPacket | None:
        """Return the packet of this 20 ms tick, or None in a pause and when nothing is queued.

        Args:
            timestamp: the stream's RTP timestamp at this tick.
        """
        if self._event is None:
            if not self._pending:
                return None
            self._event = self._pending.popleft()
            self._start_timestamp = timestamp
            self._tick = 0
        packet = self._packet(self._event) if self._tick < _PACKETS else None
        self._tick += 1
        # The pause after the last digit of a queue is kept too: more digits may come right after it.
        if self._tick == _PACKETS + _GAP_TICKS:
            self._event = None
        return packet

    def _packet(self, event: int) -> EventPacket:
        ticks = min(self._tick + 1, _TONE_TICKS)
        end = _END_BIT if ticks == _TONE_TICKS else 0
        duration = min(ticks * self._tick_duration, _MAX_DURATION)
        return EventPacket(
            _EVENT.pack(event, end | _VOLUME, duration), self._start_timestamp, marker=self._tick == 0
        )
