"""Telephone-events sent: the packets of digits.

Spec: RFC 4733 §2.
"""

import struct
from collections import deque
from dataclasses import dataclass
from typing import Final

DIGITS: Final = "0123456789*#ABCD"
"""Every DTMF digit at the place of its event code."""
MAX_PENDING_DIGITS: Final = 256
TICK_MS: Final = 20

_EVENT_CODES = {digit: code for spelling in (DIGITS, DIGITS.lower()) for code, digit in enumerate(spelling)}
_EVENT = struct.Struct("!BBH")
_END_BIT = 0x80
_MAX_DURATION = 0xFFFF

_TONE_TICKS = 5
_END_PACKETS = 3
_PACKETS = _TONE_TICKS - 1 + _END_PACKETS
_GAP_TICKS = 3
"""Ticks without a packet after a digit: the receiver hears 100 ms of tone and 100 ms of pause."""
_VOLUME = 10
"""Loudness of the tone the receiver may play, in −dBm0."""


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
