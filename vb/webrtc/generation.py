"""Credentials of ICE, and one generation of it: what an ICE restart begins anew.

Spec: RFC 8445 §5.3 and §9, RFC 8839 §5.4.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from vb.sdp.ice import Credentials
from vb.webrtc.candidate import Candidate
from vb.webrtc.checklist import Checklist, LocalBase, Pair, PairState
from vb.webrtc.stun import Address

CONNECT_LIMIT_S: Final = 30.0
RETRY_S: Final = 1.0
"""From the failure of a pair to another round of checks, as long as no pair is in use."""

_NO_PAIR: Final = 2**64
"""Above the priority of every pair."""

RandomBytes = Callable[[int], bytes]
"""Returns that many random bytes, fit for secrets."""


def new_credentials(random_bytes: RandomBytes) -> Credentials:
    """Return fresh credentials: 48 and 144 random bits in the alphabet of ICE."""
    return Credentials(
        base64.b64encode(random_bytes(6)).decode(), base64.b64encode(random_bytes(18)).decode()
    )


@dataclass(slots=True, eq=False)
class Generation:
    """One run of ICE.

    Attributes:
        remote: the peer's credentials, None until its description is here.
        started_at: when both sides' credentials were here.
        nominating: the pair that we, controlling, have asked the peer to use.
        valid_since: when the first pair worked.
        retry_at: when pairs that have failed get another round, None while none has.
    """

    local: Credentials
    checklist: Checklist
    remote: Credentials | None = None
    started_at: float | None = None
    nominating: Pair | None = None
    valid_since: float | None = None
    retry_at: float | None = None

    @property
    def selected(self) -> Pair | None:
        """The pair in use."""
        return self.checklist.selected

    @selected.setter
    def selected(self, pair: Pair | None) -> None:
        self.checklist.selected = pair

    @property
    def best(self) -> Pair | None:
        """The pair to send on: the selected one, else the best of those that work."""
        return self.selected or next(self.checklist.valid(), None)

    @property
    def username(self) -> bytes:
        """What our requests call themselves."""
        theirs = "" if self.remote is None else self.remote.ufrag
        return f"{theirs}:{self.local.ufrag}".encode()

    @property
    def remote_key(self) -> bytes:
        """What our requests are signed with."""
        return b"" if self.remote is None else self.remote.password.encode()

    @property
    def connect_by(self) -> float | None:
        """When the search for a pair ends, None while the peer is not known."""
        return None if self.started_at is None else self.started_at + CONNECT_LIMIT_S

    def next_pair(self) -> Pair | None:
        """Return the pair to check next, and count it as triggered no more."""
        if self.remote is None or not self.checklist.is_open:
            return None
        return self.checklist.next_pair(self._floor())

    def has_next(self) -> bool:
        """Tell whether `next_pair` would return one."""
        return self.remote is not None and self.checklist.is_open and self.checklist.has_next(self._floor())

    def _floor(self) -> int:
        """Return the priority up to which ordinary checks are of no use any more."""
        if self.selected is None:
            return -1
        # Who controls has chosen; a controlling peer may still nominate a better pair.
        return _NO_PAIR if self.checklist.controlling else self.checklist.priority(self.selected)

    def works(self, pair: Pair, now: float) -> None:
        """Note that a pair works."""
        self.checklist.succeeded(pair)
        if self.valid_since is None:
            self.valid_since = now

    def fail(self, pair: Pair, now: float) -> None:
        """Note that a check of a pair was refused, or that nobody answered it."""
        pair.state = PairState.FAILED
        self.retry_at = now + RETRY_S
        if self.nominating is pair:
            self.nominating = None

    def retry(self, now: float) -> None:
        """Let the pairs that have failed be checked once more, when it is time and none is in use."""
        if self.selected is None and self.retry_at is not None and now >= self.retry_at:
            self.retry_at = None
            self.checklist.forgive()


class Generations:
    """The generation in use, perhaps a newer one that a restart has begun, and our bases, which they share.

    Args:
        random_bytes: source of credentials.
        controlling: our role, which checklists of later generations take from the newest one.
    """

    def __init__(self, random_bytes: RandomBytes, *, controlling: bool) -> None:
        self.bases: dict[Address, LocalBase] = {}
        self._random = random_bytes
        self._all = [Generation(new_credentials(random_bytes), Checklist(controlling))]

    def __iter__(self) -> Iterator[Generation]:
        return iter(self._all)

    @property
    def current(self) -> Generation:
        """The one whose pair is in use."""
        return self._all[0]

    @property
    def newest(self) -> Generation:
        """The one that our next description is about."""
        return self._all[-1]

    def begin(self) -> Generation:
        """Begin one; of the older ones only that whose pair is in use is kept."""
        controlling = self.newest.checklist.controlling
        self._all = [self.current, Generation(new_credentials(self._random), Checklist(controlling))]
        return self.newest

    def settle(self) -> None:
        """Forget all but the newest one, which has found its pair."""
        del self._all[:-1]

    def set_role(self, *, controlling: bool) -> None:
        """Change our role: pairs get another order, and what we have nominated counts no more."""
        for generation in self._all:
            generation.checklist.controlling = controlling
            generation.nominating = None

    def add_local(self, candidate: Candidate, key: Address) -> None:
        """Add a candidate to a base, and pair the base with the peer's candidates."""
        family = 6 if ":" in candidate.host else 4
        known = self.bases.get(key) or LocalBase(key, 0, candidate.foundation, frozenset())
        priority = max(known.priority, candidate.priority)
        self.bases[key] = LocalBase(key, priority, known.foundation, known.families | {family})
        for generation in self._all:
            generation.checklist.add_base(self.bases[key])

    def add_remote(self, candidate: Candidate) -> bool:
        """Add a candidate of the peer to the generation that it names, else to the newest one."""
        for generation in reversed(self._all):
            theirs, fragment = generation.remote, candidate.username_fragment
            if fragment is None or theirs is None or theirs.ufrag == fragment:
                return generation.checklist.add_remote(candidate, self.bases.values())
        return False

    def pairs_at(self, source: Address, base: Address) -> Iterator[Pair]:
        """Yield the pairs of all generations on one way."""
        for generation in self._all:
            pair = generation.checklist.pairs.get((base, source))
            if pair is not None:
                yield pair
