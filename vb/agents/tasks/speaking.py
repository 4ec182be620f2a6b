"""Words to a voice as they come, and its audio to the mouth: one stretch of an answer."""

from __future__ import annotations

from math import inf
from typing import Final

import trio

from vb.agents.audio import AudioFormat, Mouth
from vb.agents.runtime.heard import SpokenWord, Stretch
from vb.agents.runtime.reply import Reply
from vb.agents.tasks.voice_line import VoiceLine
from vb.blocking import Bell
from vb.local_speech.sentences import Sentences
from vb.media.conversion import RateConverter
from vb.providers.failure import WORTH_A_RETRY, ProviderFailed
from vb.tts.base import Audio, Done, Mark, Session, Spoken

RATE_HZ: Final = 24_000
"""What voices say is held at this rate, whatever theirs is."""
MIN_RATE_HZ: Final = 4_000
MAX_RATE_HZ: Final = 192_000
AHEAD_MS: Final = 10_000
"""So far a voice may be ahead of what is heard; then it waits."""
STALL_S: Final = 3.0
"""A voice that gives nothing for so long, while words wait for it, is asked again over a new connection."""
LAST_STALL_S: Final = 8.0
"""The same for the second time, at most: engines on this machine may have to start first."""


class Speech:
    """Has the words of one stretch said.

    Args:
        mouth: where they are heard.
        reply: gets what becomes of them.
        line: the way to the voice.
        drained: rung when the mouth holds less than it may.

    Attributes:
        retries: how often the voice may still be asked again.
        failure: why the voice has given up.
    """

    def __init__(self, mouth: Mouth, reply: Reply, line: VoiceLine, drained: Bell) -> None:
        self.retries = 1
        self.failure: ProviderFailed | None = None
        self._mouth = mouth
        self._reply = reply
        self._line = line
        self._provider = line.provider
        self._drained = drained
        self._sentences = Sentences()
        self._at = len(reply.text)
        self._streamed = line.streams
        self._pieces: list[Stretch] = []
        """One for each sentence; only one for a voice that takes text as it is written."""
        self._texts: list[tuple[str, int]] = []
        """All sentences, and where in the answer each begins."""
        self._opened = False
        self._renewed = False
        self._done = 0
        self._owed = False
        self._ended = False
        self._moved = trio.Event()
        self._patience = trio.CancelScope()
        self._limit_s = STALL_S
        self._converter: RateConverter | None = None
        self._from_hz = RATE_HZ

    def write(self, text: str) -> None:
        """Add the next words; they are said sentence by sentence."""
        self._reply.text += text
        self._add(self._sentences.feed(text))

    def end(self) -> None:
        """Say that these were all words; it may be said again."""
        self._add(self._sentences.end())
        self._ended = True
        if not self._texts:
            self._patience.cancel()  # nothing is to be said: no voice is waited for
        if self._streamed and self._pieces and not self._owed:
            self._owed = True
            self._expect()
        self._tell()

    def _add(self, pieces: list[str]) -> None:
        idle = not self._owed if self._streamed else self._done == len(self._pieces)
        if pieces and self._reply.piece_at is None:
            self._reply.piece_at = trio.current_time()
        for piece in pieces:
            begin = max(self._at, self._reply.text.find(piece, self._at))
            self._at = begin + len(piece)
            self._texts.append((piece, begin))
            if self._streamed and self._pieces:
                whole = self._pieces[0]
                whole.text = self._reply.text[whole.begin : self._at]
            else:
                self._pieces.append(Stretch(piece, begin))
        if pieces:
            self._owed = True
        if idle and pieces:
            self._expect()
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    def _expect(self) -> None:
        """Give the voice time to say something, as long as it is its turn."""
        due = self._done < len(self._pieces) and (self._owed or not self._streamed)
        spare_s = self._limit_s + self._mouth.waiting_ms / 1000
        self._patience.deadline = trio.current_time() + spare_s if due else inf

    async def run(self) -> None:
        """Have all words said, and return when the last sample has come or the voice has failed.

        Cancellation: not another sample comes.
        """
        while True:
            try:
                await self._try()
                return
            except ProviderFailed as failed:
                begun = self._done < len(self._pieces) and self._pieces[self._done].made_ms
                if self._streamed and not self._opened:
                    self._line.refused()  # there may be no socket, as at a gateway for HTTP alone
                    self._speak_by_sentence()
                    continue
                broke = self._opened and not begun and not self._patience.cancelled_caught
                if self._line.was_ahead and broke and not self._renewed:
                    self._renewed = True  # it may have died while it waited: that costs no try
                    continue
                if not self.retries or begun or failed.category not in WORTH_A_RETRY:
                    self.failure = failed
                    return
                self.retries -= 1
                self._limit_s = min(self._provider.capabilities.patience_s, LAST_STALL_S)

    def _speak_by_sentence(self) -> None:
        self._streamed = False
        self._pieces = [Stretch(text, begin) for text, begin in self._texts]

    async def _try(self) -> None:
        if self._ended and not self._texts:
            return
        failures: list[ProviderFailed] = []
        opened = self._line.open(streamed=self._streamed)
        with trio.CancelScope() as self._patience:
            self._expect()
            try:
                async with opened as session, trio.open_nursery() as nursery:
                    self._opened = True
                    if self._reply.voice_open_at is None:
                        self._reply.voice_open_at = trio.current_time()

                    async def feed() -> None:
                        try:
                            await self._feed(session)
                        except ProviderFailed as failed:
                            failures.append(failed)
                            nursery.cancel_scope.cancel()

                    nursery.start_soon(feed)
                    try:
                        await self._receive(session)
                    except ProviderFailed as failed:
                        failures.append(failed)
                    nursery.cancel_scope.cancel()
            except ProviderFailed as failed:
                failures.append(failed)
        if self._ended and not self._texts:
            return
        if self._patience.cancelled_caught:
            failures.append(ProviderFailed("retryable", f"{self._provider.name}: it says nothing"))
        if failures:
            raise failures[0]

    async def _feed(self, session: Session) -> None:
        fed = 0 if self._streamed else self._done
        while fed < len(self._texts) or not self._ended:
            if fed == len(self._texts):
                await self._moved.wait()
                continue
            if self._reply.first_text_at is None:
                self._reply.first_text_at = trio.current_time()
            text, _ = self._texts[fed]
            if self._streamed:
                await session.feed(f"{text}\n")
            else:
                await session.feed(text)
                await session.finalize()
            fed += 1
        if self._streamed and fed:
            await session.finalize()

    async def _receive(self, session: Session) -> None:
        while self._done < len(self._pieces) or not self._ended:
            if self._done == len(self._pieces):
                await self._moved.wait()
                continue
            while self._mouth.waiting_ms > AHEAD_MS:
                self._patience.deadline = inf  # it waits for the listener, not he for it
                await self._drained.wait()
            self._expect()
            self._take(await session.receive())

    def _take(self, item: Spoken) -> None:
        piece = self._pieces[self._done]
        if isinstance(item, Done):
            piece.done = True
            self._done += 1
            self._expect()
        elif isinstance(item, Audio):
            self._hear(item, piece)
        elif isinstance(item, Mark):
            piece.marks.append(SpokenWord(item.text, item.end_ms))

    def _hear(self, audio: Audio, piece: Stretch) -> None:
        if not MIN_RATE_HZ <= audio.rate_hz <= MAX_RATE_HZ:
            problem = f"{self._provider.name}: it speaks at {audio.rate_hz} Hz"
            raise ProviderFailed("permanent_input", problem)
        reply, mouth = self._reply, self._mouth
        self._owed = self._ended
        if reply.first_audio_at is None:
            reply.first_audio_at = trio.current_time()
            if mouth.turn == reply.turn:  # a tone was heard before
                reply.first_heard_at = reply.first_audio_at
        if not piece.made_ms:
            piece.start_ms = reply.made_ms
            reply.stretches.append(piece)
        length_ms = round(audio.pcm.size * 1000 / audio.rate_hz)
        reply.made_ms += length_ms
        piece.made_ms += length_ms
        if audio.rate_hz != self._from_hz:
            self._from_hz = audio.rate_hz
            self._converter = RateConverter(audio.rate_hz, RATE_HZ) if audio.rate_hz != RATE_HZ else None
        pieces = [audio.pcm] if self._converter is None else self._converter.feed(audio.pcm)
        for pcm in pieces:
            mouth.put(AudioFormat(RATE_HZ).encode(pcm), reply.turn)
