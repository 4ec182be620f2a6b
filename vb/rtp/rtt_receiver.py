"""Real-time text on its way in: put in order, repaired from what later packets repeat, marked where lost.

Spec: RFC 4103 §5, RFC 2198.
"""

import codecs
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vb.rtp.packet import RtpPacket
from vb.rtp.red import RedBlock, parse_red
from vb.rtp.sequence import Arrival, ExtendedSequence, difference16
from vb.sdp.text import TextTypes

REPLACEMENT: Final = "\ufffd"
"""What stands where text was lost."""
REORDER_S: Final = 0.5
"""How long text waits for a missing packet before it."""
_BOM: Final = "\ufeff"
_MAX_HELD: Final = 64
_MAX_GENERATIONS: Final = 16
_REMEMBERED_BLOCKS: Final = 64


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Text that has arrived.

    Attributes:
        text: never empty; U+FFFD where something is missing.
        lost: whether something is missing.
    """

    text: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class _Block:
    timestamp: int
    data: bytes


class TextReceiver:
    """Turns the packets of a text stream into its text.

    A packet with redundancy repeats the blocks of the packets right before it, so each block has the place of
    the packet that brought it first. Text before a gap goes out at once; text behind it waits a moment for
    what is missing.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._recent: deque[_Block] = deque(maxlen=_REMEMBERED_BLOCKS)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ssrc: int | None = None
        self._numbers = ExtendedSequence(0)
        self._suspect: RtpPacket | None = None
        self._next = 0
        self._held: dict[int, _Block] = {}
        self.deadline: float | None = None
        """When to call `expire`, None while nothing waits."""

    def receive(self, packet: RtpPacket, types: TextTypes, now: float) -> TextChunk | None:
        """Take a packet and return the text that it makes available.

        Args:
            packet: from the peer of the stream.
            types: payload types that we receive; packets of others are ignored.
            now: monotonic time.
        """
        blocks = self._blocks(packet, types)
        if blocks is None:
            return None
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._numbers = ExtendedSequence(packet.sequence)
            return self._restart([(self._numbers.highest, blocks)], now)
        arrival = self._numbers.update(packet.sequence)
        if arrival is Arrival.SUSPECT:
            self._suspect = packet
            return None
        position = self._numbers.highest
        if arrival is Arrival.RESTART:
            before = None if self._suspect is None else self._blocks(self._suspect, types)
            return self._restart([(position - 1, before or ()), (position, blocks)], now)
        position += difference16(packet.sequence, position & 0xFFFF)
        self._hold(position, blocks)
        return self._release(now)

    def expire(self, now: float) -> TextChunk | None:
        """Give up what is missing, once the deadline has passed, and return what waited behind it."""
        if self.deadline is None or now < self.deadline:
            return None
        return self._flush()

    def _blocks(self, packet: RtpPacket, types: TextTypes) -> tuple[_Block, ...] | None:
        """Return the text blocks of a packet, the oldest first, its own last."""
        if packet.payload_type == types.t140:
            return (_Block(packet.timestamp, packet.payload),)
        if packet.payload_type != types.red:
            return None
        blocks = parse_red(packet.payload)
        if blocks is None or any(block.payload_type != types.t140 for block in blocks):
            self.malformed += 1
            return None
        return tuple(self._timed(block, packet) for block in blocks[-_MAX_GENERATIONS:])

    @staticmethod
    def _timed(block: RedBlock, packet: RtpPacket) -> _Block:
        return _Block((packet.timestamp - block.age) & 0xFFFF_FFFF, block.data)

    def _restart(self, packets: list[tuple[int, tuple[_Block, ...]]], now: float) -> TextChunk | None:
        """Begin a new numbering with these packets; what the first one repeats is text that we missed."""
        left = self._flush()
        self._decoder.reset()
        self._suspect = None
        position, blocks = packets[0]
        oldest = next((index for index, block in enumerate(blocks) if block.data), len(blocks) - 1)
        missed = blocks[oldest:]
        self._next = position - len(missed) + 1
        for place, block in enumerate(missed, self._next):
            self._held[place] = _Block(block.timestamp, b"") if self._is_repeated(block) else block
        for position, blocks in packets[1:]:
            self._hold(position, blocks)
        return join((left, self._release(now)))

    def _hold(self, position: int, blocks: tuple[_Block, ...]) -> None:
        """Keep the blocks of a packet that are new, each at its place."""
        for place, block in enumerate(blocks, position - len(blocks) + 1):
            if place < self._next or place in self._held:
                continue
            # An empty repeated block of the packet's own time is a slot without history: it fills no gap.
            is_repeated = place != position
            if is_repeated and (self._is_repeated(block) or block == _Block(blocks[-1].timestamp, b"")):
                continue
            self._held[place] = block

    def _is_repeated(self, block: _Block) -> bool:
        return bool(block.data) and block in self._recent

    def _release(self, now: float) -> TextChunk | None:
        """Return what is complete; what lies behind a gap waits, but neither long nor in any number."""
        text, before = "", self._next
        while (block := self._held.pop(self._next, None)) is not None:
            self._next += 1
            text += self._text_of(block)
        if not self._held:
            self.deadline = None
        elif self.deadline is None or self._next != before:
            self.deadline = now + REORDER_S
        chunk = _chunk(text, lost=False)
        return join((chunk, self._flush())) if len(self._held) > _MAX_HELD else chunk

    def _flush(self) -> TextChunk | None:
        """Return everything that waits, with a mark at each gap."""
        text, lost = "", False
        for place in sorted(self._held):
            if place != self._next:
                self._decoder.reset()
                text, lost = text + REPLACEMENT, True
            text += self._text_of(self._held[place])
            self._next = place + 1
        self._held.clear()
        self.deadline = None
        return _chunk(text, lost=lost)

    def _text_of(self, block: _Block) -> str:
        if not block.data:
            return ""
        self._recent.append(block)
        return self._decoder.decode(block.data).replace(_BOM, "")


def _chunk(text: str, *, lost: bool) -> TextChunk | None:
    return TextChunk(text, lost) if text else None


def join(chunks: Iterable[TextChunk | None]) -> TextChunk | None:
    """Return several chunks as one, None when there is nothing in them."""
    found = [chunk for chunk in chunks if chunk is not None]
    return _chunk("".join(chunk.text for chunk in found), lost=any(chunk.lost for chunk in found))
