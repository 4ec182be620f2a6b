"""Finding our candidates: the socket itself, how STUN servers see it, and relays at TURN servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vb.rtcleg.candidates import LocalCandidates
from vb.webrtc.candidate import Candidate
from vb.webrtc.reflexive import ReflexiveQueries
from vb.webrtc.stun import Address

if TYPE_CHECKING:
    from vb.rtcleg.transport import Transport


class Gathering:
    def __init__(self, base: Address, candidates: LocalCandidates, queries: ReflexiveQueries) -> None:
        self.base = base
        self.queries = queries
        self._candidates = candidates

    def attach(self, transport: Transport) -> None:
        self._transport = transport

    async def run(self) -> None:
        self._candidates.done = True

    def way_to(self, source: Address, remote: Address) -> Address:
        return remote

    def permit(self, candidate: Candidate) -> None:
        pass
