"""Which pair is used: what the controlling side asks for, and what the controlled side makes of it.

A choice is for good, as long as it works. A peer that gets another address while it talks, from its NAT for
instance, does not know, and nominates nothing: it is followed when it is heard there and nowhere else.

Spec: RFC 8445 §8.1; who is heard somewhere and answers there consents to be sent media (RFC 7675 §5.1).
"""

from __future__ import annotations

from typing import Final

from vb.webrtc.checklist import Pair
from vb.webrtc.generation import Generation

NOMINATE_AFTER_S: Final = 0.2
"""How long a pair that works waits for a better one before it is asked for."""
STALE_S: Final = 5.0
"""A selected pair silent for this long gives way to a worse one that the peer nominates."""

GONE_S: Final = 6.5
"""A selected pair silent for this long is left without a nomination: consent is asked for more often."""


def pair_to_nominate(generation: Generation, now: float) -> Pair | None:
    """Return the pair that we, controlling, ask the peer to use now, or None.

    That is the best one that works, as soon as no better one may still turn out to (regular nomination).
    """
    if generation.selected is not None or generation.nominating is not None or generation.valid_since is None:
        return None
    pair = next(generation.checklist.valid(), None)
    if pair is None:
        return None
    waited = now >= generation.valid_since + NOMINATE_AFTER_S
    return pair if waited or not generation.checklist.unsettled_above(pair) else None


def nomination_due(generation: Generation) -> float | None:
    """Return when `pair_to_nominate` finds a pair if nothing changes: it may be in the past."""
    if generation.selected is not None or generation.nominating is not None or generation.valid_since is None:
        return None
    pair = next(generation.checklist.valid(), None)
    if pair is None:
        return None
    waits = generation.checklist.unsettled_above(pair)
    return generation.valid_since + (NOMINATE_AFTER_S if waits else 0.0)


def takes_nomination(generation: Generation, pair: Pair, now: float) -> bool:
    """Tell whether we, controlled, use a pair that the peer has nominated, and that works.

    Peers that nominate all they check (aggressive nomination) mean the best of them; one whose network has
    changed nominates a worse pair while the better one is silent.
    """
    selected = generation.selected
    if selected is None:
        return True
    rank = generation.checklist.priority
    return rank(pair) > rank(selected) or now - selected.heard_at > STALE_S


def has_moved(generation: Generation, pair: Pair, now: float) -> bool:
    """Tell whether the peer, which works on this pair, is heard on the selected one no more."""
    selected = generation.selected
    return selected is not None and pair is not selected and now - selected.heard_at > GONE_S
