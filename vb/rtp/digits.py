"""Telephone-events received: which packets are one press of a key, whatever their sender does to the stamps.

By the letter all packets of an event bear the timestamp of its start. Senders exist that stamp the last
packets anew, every packet anew, or all events alike. So an event is known by its digit, timestamp, marker,
duration and the time since its last packet together; the sequence tells which packet is newer and whether
some are missing.

Spec: RFC 4733 §2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from vb.rtp.dtmf import DIGITS
from vb.rtp.sequence import difference16, difference32

END_TIMEOUT_S: Final = 0.12
"""Without a packet for this long an event is over, though no end was seen."""

_EVENT = struct.Struct("!BBH")
_END_BIT = 0x80
_SEGMENT = 0xFFFF
"""A longer event goes on under a timestamp that is later by this (RFC 4733 §2.5.1.3)."""
_NEARLY_FULL = 0xE000
"""A duration from which its sender may start to count from zero within one event."""
_PAUSE_S = 0.03
"""Nobody presses a key again sooner after letting it go."""
_TOLERANCE_S = 0.01
_INTERRUPTED_S = 0.05
"""Packets of one event follow each other faster, as a rule."""
_ADJACENT = 2
"""Distance in sequence between packets of one event whose sender goes on with its audio."""
_MAX_LATENESS_S = 2.0
"""Sequence numbers of events further apart are not compared: they may have wrapped."""


@dataclass(frozen=True, slots=True)
class EventPacket:
    """A telephone-event packet as it came."""

    payload: bytes
    timestamp: int
    arrival_s: float
    sequence: int
    marker: bool = False
    ssrc: int = 0
    payload_type: int = 101


@dataclass(slots=True)
class _Press:
    """One press of a key, by its newest packet.

    Attributes:
        timestamp: of that packet.
        duration: the longest so far.
        began_at: when the key went down, as far as its packets tell.
        over: it has counted; what still comes of it changes nothing.
    """

    event: int
    timestamp: int
    duration: int
    ssrc: int
    sequence: int
    seen_at: float
    began_at: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Packet:
    """What one packet says, beside what is known of the press before it.

    Attributes:
        since_s: time since the packet before.
        stamps: distance in timestamps from it.
        adjacent: whether none of an event can be missing in between.
        long_ago: whether a pause and all of its duration fit into the time since the packet before.
    """

    duration: int
    end: bool
    marker: bool
    since_s: float
    stamps: int
    adjacent: bool
    long_ago: bool
    clock_hz: int


class TelephoneEventReceiver:
    """Turns the telephone-event packets of one leg into digits, each press exactly once.

    A press counts when an end packet arrives, when the next one begins or when its packets cease, so neither
    a lost start nor lost ends lose the digit.

    Attributes:
        lasted_s: how long the key of the digit returned last was down; of several the longest.
    """

    def __init__(self) -> None:
        self.lasted_s = 0.0
        self._press: _Press | None = None

    @property
    def deadline(self) -> float | None:
        """When to call `expire`, or None while no key is down."""
        press = self._press
        return None if press is None or press.over else press.seen_at + END_TIMEOUT_S

    def receive(self, packet: EventPacket, clock_hz: int = 8000) -> str:
        """Take one telephone-event packet.

        Args:
            packet: the packet.
            clock_hz: clock of its payload type.

        Returns:
            The digits that ended with it, in order: mostly none, two when an event whose ends were lost is
            followed by one of which only an end arrived.
        """
        self.lasted_s = 0.0
        if len(packet.payload) < _EVENT.size:
            return ""
        event, flags, duration = _EVENT.unpack_from(packet.payload)
        if event >= len(DIGITS):
            return ""
        end = bool(flags & _END_BIT)
        press = self._press
        if press is not None and self._is_stale(press, packet):
            belongs = event == press.event and packet.timestamp == press.timestamp
            return self._finish(press) if end and belongs else ""
        ended = self._expired(packet.arrival_s)
        began_at = packet.arrival_s - duration / clock_hz
        if press is None or event != press.event or self._is_another(press, packet, duration, end, clock_hz):
            if press is not None:
                ended += self._finish(press)
            press = self._press = _Press(
                event, packet.timestamp, duration, packet.ssrc, packet.sequence, packet.arrival_s, began_at
            )
        elif duration < press.duration and not end:
            press.duration = duration  # its sender counts from zero again
        press.timestamp = packet.timestamp
        press.duration = max(press.duration, duration)
        press.began_at = min(press.began_at, began_at)
        press.ssrc, press.sequence, press.seen_at = packet.ssrc, packet.sequence, packet.arrival_s
        return ended + self._finish(press) if end else ended

    def expire(self, now: float) -> str:
        """Return the digit whose packets ceased, once its deadline has passed."""
        self.lasted_s = 0.0
        return self._expired(now)

    def _expired(self, now: float) -> str:
        press, deadline = self._press, self.deadline
        return "" if press is None or deadline is None or now < deadline else self._finish(press)

    def _finish(self, press: _Press) -> str:
        """Return the digit of a press unless it has counted."""
        if press.over:
            return ""
        press.over = True
        self.lasted_s = max(self.lasted_s, press.seen_at - press.began_at)
        return DIGITS[press.event]

    @staticmethod
    def _is_stale(press: _Press, packet: EventPacket) -> bool:
        """Tell whether a packet was sent before the newest one, and can begin nothing."""
        return (
            packet.ssrc == press.ssrc
            and packet.arrival_s - press.seen_at < _MAX_LATENESS_S
            and difference16(packet.sequence, press.sequence) <= 0
        )

    def _is_another(
        self, press: _Press, packet: EventPacket, duration: int, end: bool, clock_hz: int
    ) -> bool:
        """Tell whether a newer packet of the same digit is of another press."""
        since_s = packet.arrival_s - press.seen_at
        seen = _Packet(
            duration=duration,
            end=end,
            marker=packet.marker,
            since_s=since_s,
            stamps=difference32(packet.timestamp, press.timestamp),
            adjacent=packet.ssrc == press.ssrc and difference16(packet.sequence, press.sequence) <= _ADJACENT,
            long_ago=duration > 0 and duration / clock_hz + _PAUSE_S <= since_s + _TOLERANCE_S,
            clock_hz=clock_hz,
        )
        if seen.stamps == 0:
            return _is_another_of_one_stamp(press, seen)
        return seen.stamps != _SEGMENT and _is_another_of_new_stamp(press, seen)


def _is_another_of_one_stamp(press: _Press, seen: _Packet) -> bool:
    """Tell two presses apart whose sender gave both the same timestamp."""
    if seen.duration >= press.duration:
        # What goes on has lasted for the time since its last packet too, and so is never long ago.
        return press.over and seen.long_ago and (seen.marker or not seen.end)
    if seen.end:
        return seen.long_ago and seen.since_s > END_TIMEOUT_S
    if press.over:
        return True
    if press.duration >= _NEARLY_FULL and not seen.marker:
        return False
    return seen.marker or seen.since_s > _INTERRUPTED_S


def _is_another_of_new_stamp(press: _Press, seen: _Packet) -> bool:
    """Tell a new press from a packet of the same one that was stamped anew."""
    grown = seen.duration - press.duration
    if grown < 0 and not seen.end:
        return True
    if grown >= 0 and abs(seen.stamps - grown) <= _TOLERANCE_S * seen.clock_hz:
        return False  # stamp and duration grow together
    if seen.long_ago:
        return True
    if seen.adjacent:
        return seen.marker and not seen.end
    # Packets are missing in between, and those that came were held up on the way: the stamps decide.
    return seen.marker or seen.stamps >= press.duration + _PAUSE_S * seen.clock_hz
