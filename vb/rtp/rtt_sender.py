"""Real-time text on its way out: gathered, cut into blocks, repeated, paced.

Spec: RFC 4103 §4 to §6, ITU-T T.140 §8.
"""

from collections import deque
from typing import Final

from vb.rtp.packet import RtpPacket
from vb.rtp.red import MAX_AGE, RedBlock, build_red
from vb.sdp.text import CLOCK_HZ, TextTypes

TICK_S: Final = 0.3
"""Text is gathered for this long before it goes out."""
BOM: Final = "\ufeff"
MAX_BLOCK_BYTES: Final = 400
"""Three blocks of this size fit one unfragmented packet."""
MAX_PENDING_CHARACTERS: Final = 1_048_576
"""As much as one request can bring."""
RATE_WINDOW_S: Final = 10.0
"""The mean over this long stays within the rate that the peer can show."""
_TICK_TOLERANCE: Final = 1e-6
_PLAIN_TRAILERS: Final = 1
"""Without redundancy one empty block still tells the receiver that the text before it may be lost."""


class TextSender:
    """Packs text into the packets of one stream, at most one each tick.

    The stream opens with a byte order mark in a packet of its own. After the last text come packets without
    any, as many as there are generations: they repeat it, so that its loss can be repaired too. The stream is
    idle after them, and its next text carries the marker.

    Args:
        ssrc: source of the stream.
        sequence: number of its first packet.
        timestamp: RTP timestamp of `now`.
        now: monotonic time.
    """

    def __init__(self, *, ssrc: int, sequence: int, timestamp: int, now: float) -> None:
        self.ssrc = ssrc
        self._sequence = sequence
        self._first_timestamp = timestamp
        self._started_at = now
        self._pending = BOM
        self._opened = False
        self._trailers = 0
        self._idle = True
        self._next_tick = 0
        self._sent: deque[tuple[int, bytes]] = deque()
        self._spent: deque[tuple[float, int]] = deque()

    @property
    def pending(self) -> int:
        """How many characters wait."""
        return len(self._pending)

    def queue(self, text: str, now: float) -> bool:
        """Append text; what is no Unicode character (half a surrogate pair) becomes a question mark.

        Returns:
            False when there is no room for all of it; then none is taken.
        """
        if len(self._pending) + len(text) > MAX_PENDING_CHARACTERS:
            return False
        if not self._pending and not self._trailers:
            self._next_tick = self._tick_of(now) + 1
        self._pending += text.encode("utf-8", "replace").decode()
        return True

    def _tick_of(self, now: float) -> int:
        """Return the number of the tick that came last."""
        return int((now - self._started_at) / TICK_S + _TICK_TOLERANCE)

    def deadline(self, characters_per_s: int) -> float | None:
        """Return when the next packet is due, None while there is nothing to say."""
        if not self._pending and not self._trailers:
            return None
        tick = self._started_at + self._next_tick * TICK_S
        if self._trailers or self._room(tick, characters_per_s):
            return tick
        return max(tick, self._spent[0][0] + RATE_WINDOW_S)

    def tick(self, types: TextTypes, characters_per_s: int, now: float) -> bytes | None:
        """Return the packet of this tick, None when it has none.

        Args:
            types: how the peer takes text.
            characters_per_s: what it can show.
            now: monotonic time, not before the deadline.
        """
        self._next_tick = self._tick_of(now) + 1
        data = self._cut(characters_per_s, now)
        if not data and not self._trailers:
            return None
        marker = bool(data) and self._idle
        self._trailers = (types.generations or _PLAIN_TRAILERS) if data else self._trailers - 1
        self._idle = self._trailers == 0
        return self._packet(data, types, now, marker=marker)

    def keep_alive(self, types: TextTypes, now: float) -> bytes:
        """Return a packet that says nothing, for a peer behind a NAT (RFC 6263 §4)."""
        return self._packet(b"", types, now, marker=False)

    def _room(self, now: float, characters_per_s: int) -> int:
        """Return how many characters may go out now."""
        recent = sum(count for at, count in self._spent if at + RATE_WINDOW_S > now)
        return max(0, int(characters_per_s * RATE_WINDOW_S) - recent)

    def _limit(self, characters_per_s: int, now: float) -> int:
        """Return the most characters for this tick: all that waits if the rate allows, else an even flow."""
        if not self._opened:
            return len(BOM)
        room = self._room(now, characters_per_s)
        if len(self._pending) > room:
            room = min(room, max(1, int(characters_per_s * TICK_S)))
        return min(room, MAX_BLOCK_BYTES)

    def _cut(self, characters_per_s: int, now: float) -> bytes:
        """Take the next block off the pending text: whole characters, few enough for size and rate."""
        while self._spent and self._spent[0][0] + RATE_WINDOW_S <= now:
            self._spent.popleft()
        data = self._pending[: self._limit(characters_per_s, now)].encode()
        if len(data) > MAX_BLOCK_BYTES:
            end = MAX_BLOCK_BYTES
            while data[end] & 0xC0 == 0x80:
                end -= 1
            data = data[:end]
        if data:
            count = len(data.decode())
            self._pending = self._pending[count:]
            if self._opened:
                self._spent.append((now, count))
            self._opened = True
        return data

    def _packet(self, data: bytes, types: TextTypes, now: float, *, marker: bool) -> bytes:
        timestamp = self._first_timestamp + round((now - self._started_at) * CLOCK_HZ)
        payload, payload_type = data, types.t140
        if types.red is not None:
            payload, payload_type = self._redundant(data, types, timestamp), types.red
        self._sent.append((timestamp, data))
        while len(self._sent) > types.generations:
            self._sent.popleft()
        packet = RtpPacket(
            payload_type, self._sequence, timestamp & 0xFFFF_FFFF, self.ssrc, payload, marker=marker
        )
        self._sequence = (self._sequence + 1) & 0xFFFF
        return packet.to_bytes()

    def _redundant(self, data: bytes, types: TextTypes, timestamp: int) -> bytes:
        """Return the redundant payload of a block: all generations, those without history empty."""
        nothing = RedBlock(types.t140, b"")
        repeated = [nothing] * (types.generations - len(self._sent))
        for sent_at, block in [*self._sent][-types.generations :]:
            age = timestamp - sent_at
            known = age <= MAX_AGE or not block
            repeated.append(RedBlock(types.t140, block, min(age, MAX_AGE)) if known else nothing)
        return build_red(repeated, RedBlock(types.t140, data))
