"""The candidate pairs of one generation of ICE: made, ordered, bounded, and picked for checks.

Spec: RFC 8445 §6.1.2 and §6.1.4, RFC 8838 §10 to §12.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from vb.webrtc.candidate import Candidate, candidate_priority
from vb.webrtc.stun import Address

MAX_PAIRS: Final = 64
MAX_REMOTE: Final = 32
"""Candidates taken from a peer's descriptions and messages; those that its packets show count as pairs."""

Route = tuple[Address, Address]
"""The base that we send from, and where to."""


class PairState(Enum):
    """How far the checks of a pair are."""

    FROZEN = auto()
    WAITING = auto()
    IN_PROGRESS = auto()
    SUCCEEDED = auto()
    FAILED = auto()


@dataclass(slots=True, eq=False)
class Pair:
    """One way between the two sides.

    Attributes:
        base: what we send from.
        remote: where to.
        local_priority, remote_priority: of the candidates.
        foundation: pairs that share it work or fail alike.
        nominate_on_success: the controlling peer has asked for it before we knew that it works.
        heard_at: when the last message with the peer's signature came on it.
    """

    base: Address
    remote: Address
    local_priority: int
    remote_priority: int
    foundation: tuple[str, str]
    state: PairState = PairState.FROZEN
    nominate_on_success: bool = False
    heard_at: float = float("-inf")

    @property
    def route(self) -> Route:
        """Base and remote address."""
        return self.base, self.remote


@dataclass(frozen=True, slots=True)
class LocalBase:
    """A socket or relay that we send from, with the candidates that lead to it.

    Attributes:
        key: names it to whoever sends; its best address usually.
        priority: of its best candidate.
    """

    key: Address
    priority: int
    foundation: str
    families: frozenset[int]


@dataclass(slots=True)
class Checklist:
    """All pairs of a generation.

    Attributes:
        controlling: our role, which orders them.
        selected: the pair in use, which is never given up.
        refused: candidates and pairs beyond the limits.
    """

    controlling: bool
    pairs: dict[Route, Pair] = field(default_factory=dict)
    remotes: dict[Address, Candidate] = field(default_factory=dict)
    selected: Pair | None = None
    refused: int = 0
    _triggered: deque[Pair] = field(default_factory=deque)

    def add_base(self, base: LocalBase) -> None:
        """Pair one of our bases with every remote candidate."""
        for remote in self.remotes.values():
            self._pair(base, remote)

    def add_remote(self, candidate: Candidate, bases: Iterable[LocalBase]) -> bool:
        """Pair a remote candidate with our bases; False when it is known, of no use, or one too many."""
        if candidate.address in self.remotes or not candidate.is_usable:
            return False
        if len(self.remotes) >= MAX_REMOTE:
            self.refused += 1
            return False
        self.remotes[candidate.address] = candidate
        for base in bases:
            self._pair(base, candidate)
        return True

    def reflexive(self, base: LocalBase, remote: Address, priority: int | None) -> Pair | None:
        """Return the pair on which a message came, made if it is new; None when there are too many.

        Args:
            priority: what the request says of its candidate.

        Spec: RFC 8445 §7.3.1.3 and §7.3.1.4.
        """
        pair = self.pairs.get((base.key, remote))
        if pair is not None:
            return pair
        if priority is None:
            priority = candidate_priority("prflx")
        return self._insert(
            Pair(base.key, remote, base.priority, priority, (base.foundation, f"prflx {remote}"))
        )

    def priority(self, pair: Pair) -> int:
        """Return the priority of a pair as both sides see it.

        Spec: RFC 8445 §6.1.2.3.
        """
        ours, theirs = pair.local_priority, pair.remote_priority
        controlling, controlled = (ours, theirs) if self.controlling else (theirs, ours)
        low, high = sorted((controlling, controlled))
        return (low << 32) + 2 * high + (controlling > controlled)

    def trigger(self, pair: Pair) -> None:
        """Put a pair in front of the ordinary checks."""
        pair.state = PairState.WAITING
        if pair not in self._triggered:
            self._triggered.append(pair)

    def next_pair(self, above: int = -1) -> Pair | None:
        """Return the pair to check next and take it out of the triggered ones, or None.

        Args:
            above: ordinary checks are made of pairs with a higher priority than this only.
        """
        while self._triggered:
            pair = self._triggered.popleft()
            if pair.state is PairState.WAITING and self.pairs.get(pair.route) is pair:
                return pair
        return self._ordinary(above)

    @property
    def is_open(self) -> bool:
        """Whether any pair is still to be checked, now or later; most often none is, once one is in use."""
        if self._triggered:
            return True
        return any(pair.state in (PairState.WAITING, PairState.FROZEN) for pair in self.pairs.values())

    def has_next(self, above: int = -1) -> bool:
        """Tell whether `next_pair` would return one."""
        return bool(self._triggered) or self._ordinary(above) is not None

    def succeeded(self, pair: Pair) -> None:
        """Note that a pair works, and let those that share its foundation be checked."""
        pair.state = PairState.SUCCEEDED
        for other in self.pairs.values():
            if other.state is PairState.FROZEN and other.foundation == pair.foundation:
                other.state = PairState.WAITING

    def forgive(self) -> None:
        """Let the pairs that have failed be checked once more."""
        for pair in self.pairs.values():
            if pair.state is PairState.FAILED:
                pair.state = PairState.FROZEN

    def valid(self) -> Iterator[Pair]:
        """Yield the pairs that work, the best first."""
        working = (pair for pair in self.pairs.values() if pair.state is PairState.SUCCEEDED)
        return iter(sorted(working, key=self.priority, reverse=True))

    def unsettled_above(self, pair: Pair) -> bool:
        """Tell whether a better pair may still turn out to work."""
        settled = (PairState.SUCCEEDED, PairState.FAILED)
        mark = self.priority(pair)
        return any(
            other.state not in settled and self.priority(other) > mark for other in self.pairs.values()
        )

    def _ordinary(self, above: int) -> Pair | None:
        waiting = frozen = None
        best_waiting = best_frozen = above
        busy = {
            pair.foundation
            for pair in self.pairs.values()
            if pair.state in (PairState.WAITING, PairState.IN_PROGRESS)
        }
        for pair in self.pairs.values():
            if pair.state is PairState.WAITING and (rank := self.priority(pair)) > best_waiting:
                waiting, best_waiting = pair, rank
            elif pair.state is not PairState.FROZEN or pair.foundation in busy:
                continue
            elif (rank := self.priority(pair)) > best_frozen:
                frozen, best_frozen = pair, rank
        return waiting or frozen

    def _pair(self, base: LocalBase, remote: Candidate) -> None:
        family = 6 if ":" in remote.host else 4
        route = base.key, remote.address
        if family not in base.families or route in self.pairs:
            return
        foundation = base.foundation, remote.foundation
        alike = [pair.state for pair in self.pairs.values() if pair.foundation == foundation]
        free = not alike or PairState.SUCCEEDED in alike
        state = PairState.WAITING if free else PairState.FROZEN
        self._insert(Pair(*route, base.priority, remote.priority, foundation, state))

    def _insert(self, pair: Pair) -> Pair | None:
        """Take a pair in; a full list gives up the one that it misses least."""
        if len(self.pairs) >= MAX_PAIRS:
            self.refused += 1
            spare = [
                other
                for other in self.pairs.values()
                if other.state is not PairState.IN_PROGRESS and other is not self.selected
            ]
            if not spare:
                return None
            del self.pairs[min(spare, key=self._worth).route]
        self.pairs[pair.route] = pair
        return pair

    def _worth(self, pair: Pair) -> tuple[int, float]:
        """Order pairs by what is lost with them: failed ones, those never checked, those that work.

        A peer that moves leaves pairs behind that have worked; the one heard longest ago is the first to go.
        """
        if pair.state is PairState.SUCCEEDED:
            return 2, pair.heard_at
        return int(pair.state is not PairState.FAILED), self.priority(pair)
