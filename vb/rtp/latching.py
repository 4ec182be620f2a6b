"""Which source a leg listens to: learn it, lock on it, and learn again when it falls silent.

Until a source is locked audio goes to the address of the SDP, so a stranger who sprays packets over our
ports is never answered.

Spec: media rules 4 and 5; the attack is RTP bleed and RTP injection.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from vb.rtp.sequence import difference16

Address = tuple[str, int]

LEARN_S: Final = 5.0
"""After each SDP change: how long any source may be learnt."""
LEARN_PACKETS: Final = 4
"""Packets in sequence of one SSRC that a source other than the SDP's needs."""
SILENCE_S: Final = 2.0
"""A locked source silent for this long may be replaced."""
RELEARN_PACKETS: Final = 8


class Verdict(Enum):
    """What to do with a packet."""

    ACCEPT = auto()
    REFUSE = auto()
    LOCK = auto()
    """Accept it, and take nothing from any other source from now on."""


@dataclass(slots=True)
class _Candidate:
    ssrc: int
    sequence: int
    count: int


class SourceLatch:
    """The source of one leg's incoming stream.

    Args:
        relearn: whether a silent locked source may be replaced without new SDP.
    """

    _MAX_CANDIDATES = 8

    def __init__(self, *, relearn: bool = True) -> None:
        self.locked: Address | None = None
        self.moved = False
        """Whether the locked source is another one than that before it."""
        self.refused = 0
        self._last: Address | None = None
        self._relearn = relearn
        self._expected: Address | None = None
        self._learn_until = 0.0
        self._heard_at = 0.0
        self._candidates: dict[Address, _Candidate] = {}

    def expect(self, address: Address | None, now: float) -> None:
        """Take a new SDP: forget the lock and learn again, `address` at once."""
        self._expected = address
        self._learn_until = now + LEARN_S
        self.locked = None
        self._heard_at = now
        self._candidates.clear()

    def heard(self, now: float) -> None:
        """Say that the locked source was heard at `now`."""
        self._heard_at = max(self._heard_at, now)

    def may_relearn(self, now: float) -> bool:
        """Whether the locked source was silent long enough for another one to take its place."""
        return self._relearn and self.locked is not None and now - self._heard_at >= SILENCE_S

    def receive(self, source: Address, ssrc: int, sequence: int, *, known_type: bool, now: float) -> Verdict:
        """Judge one RTP packet.

        Args:
            source: where it came from.
            ssrc: its source identifier.
            sequence: its sequence number.
            known_type: whether its payload type was negotiated.
            now: monotonic time.
        """
        if source == self.locked:
            self._heard_at = now
            self._candidates.clear()
            return Verdict.ACCEPT
        if self.locked is None:
            if source == self._expected:
                return self._lock(source, now)
            needed = LEARN_PACKETS if now <= self._learn_until else RELEARN_PACKETS
        elif self.may_relearn(now):
            needed = RELEARN_PACKETS
        else:
            return self._refuse()
        if not known_type or self._in_sequence(source, ssrc, sequence) < needed:
            return self._refuse()
        return self._lock(source, now)

    def _refuse(self) -> Verdict:
        self.refused += 1
        return Verdict.REFUSE

    def _lock(self, source: Address, now: float) -> Verdict:
        self.moved = self._last is not None and source != self._last
        self.locked = self._last = source
        self._heard_at = now
        self._candidates.clear()
        return Verdict.LOCK

    def _in_sequence(self, source: Address, ssrc: int, sequence: int) -> int:
        """Return how many packets in a row `source` has sent with one SSRC, this one included."""
        candidate = self._candidates.get(source)
        if candidate is None:
            if len(self._candidates) >= self._MAX_CANDIDATES:
                self._candidates.pop(next(iter(self._candidates)))
            self._candidates[source] = _Candidate(ssrc, sequence, 1)
            return 1
        if candidate.ssrc == ssrc and difference16(sequence, candidate.sequence) == 1:
            candidate.count += 1
        else:
            candidate.count = 1
        candidate.ssrc, candidate.sequence = ssrc, sequence
        return candidate.count
