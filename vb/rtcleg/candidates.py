"""Candidates on their way: ours to the client, which drains them, and the peer's from it."""

from __future__ import annotations

from dataclasses import replace

from vb.legs.capabilities import TrickledCandidate
from vb.sdp.ice import Credentials
from vb.webrtc.candidate import Candidate, UnknownCandidateType, parse_candidate


class LocalCandidates:
    """Our candidates as they are found; what was taken does not come again.

    Args:
        mid: name of the audio line.
        line_index: its position.

    Attributes:
        found: all of them, the best first.
        done: there will be no further ones.
    """

    def __init__(self, mid: str | None, line_index: int) -> None:
        self.found: list[Candidate] = []
        self.done = False
        self._lines: list[tuple[str | None, int]] = [(mid, line_index)]
        self._taken = 0

    def belong_to(self, mid: str | None, line_index: int, carrier: tuple[str, int] | None) -> None:
        """Follow a description of the peer.

        Args:
            mid: name of the audio line.
            line_index: its position.
            carrier: name and position of the line whose transport the audio uses, None for its own.
        """
        self._lines = [(mid, line_index)] if carrier is None else [carrier, (mid, line_index)]

    def add(self, candidate: Candidate) -> None:
        """Take one that was found."""
        self.found.append(candidate)

    def take(self, credentials: Credentials) -> list[TrickledCandidate]:
        """Return what was found since the last call."""
        fresh, self._taken = self.found[self._taken :], len(self.found)
        mid, index = self._lines[0]
        return [
            TrickledCandidate(f"candidate:{candidate.to_text()}", mid, index, credentials.ufrag)
            for candidate in fresh
        ]

    def again(self) -> None:
        """Let all be taken once more, because their generation is another one."""
        self._taken = 0

    def read(self, given: TrickledCandidate) -> Candidate | None:
        """Return a candidate of the peer, None for the end of candidates and for what is not used.

        That are those of other media lines, and of types that are unknown here, as in a description.

        Raises:
            CandidateError: it is none.
        """
        if not given.text.strip():
            return None
        try:
            candidate = parse_candidate(given.text)
        except UnknownCandidateType:
            return None
        if not any(_is_of(given, mid, index) for mid, index in self._lines):
            return None
        if candidate.username_fragment is None and given.username_fragment:
            return replace(candidate, username_fragment=given.username_fragment)
        return candidate


def _is_of(given: TrickledCandidate, mid: str | None, line_index: int) -> bool:
    """Tell whether a candidate is of a line; a name says it before a position does, and "" is no name."""
    if given.mid and mid:
        return given.mid == mid
    return given.line_index is None or given.line_index == line_index
