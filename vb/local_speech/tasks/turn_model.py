"""Whether somebody has finished, asked of the turn model in the helper."""

from __future__ import annotations

import struct
from typing import Final

from vb.blocking import Bell
from vb.codecs.pcm import Pcm, pcm_bytes
from vb.local_speech.frames import Frame, Kind
from vb.local_speech.tasks.speech import LocalSpeech
from vb.providers.failure import ProviderFailed

_ODDS: Final = struct.Struct("<f")


class TurnModel:
    """The turn model of this machine.

    Args:
        speech: the engines.
    """

    def __init__(self, speech: LocalSpeech) -> None:
        self._speech = speech

    async def judge(self, pcm: Pcm) -> float:
        """Return how likely it is that a turn is over which ends in this audio.

        Args:
            pcm: int16 at 16 kHz, the last eight seconds or less.

        Cancellation: the answer is lost.

        Raises:
            ProviderFailed: there is no answer.
        """
        bell = Bell()
        exchange = self._speech.open("turn", bell.ring)
        try:
            exchange.send(Frame(Kind.TURN, exchange.id, pcm_bytes(pcm)))
            while (answer := exchange.next()) is None:
                await bell.wait()
        finally:
            exchange.close()
        if answer.kind is not Kind.FINISHED or len(answer.body) != _ODDS.size:
            raise ProviderFailed("unknown", "local: the turn model said something odd")
        return float(_ODDS.unpack(answer.body)[0])
