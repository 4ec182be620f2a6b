"""One utterance on its way into a leg or room: got from its provider, paced by the plane, told by events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from vb.blocking import Bell
from vb.media.frames import FRAMES_PER_S
from vb.playback.player import REFILL_FRAMES, FrameBuffer, PacedPlayback
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Done, Mark
from vb.tts.tasks.line import Turn
from vb.tts.tasks.source import RateFitter, Receive

PIECE_S: Final = REFILL_FRAMES / FRAMES_PER_S


class Speaker:
    """Plays what is received into a `PacedPlayback`, from the first frame on that there is.

    Args:
        playback: also given to the plane; it is silent until the first frame.
        turn: waited for before anything is heard.
        on_started: called once, when the first frame is about to be heard.

    Whoever runs it calls `wake` at the end of the playback, and cancels it when that was stopped.
    """

    def __init__(self, playback: PacedPlayback, turn: Turn, on_started: Callable[[], None]) -> None:
        self._playback = playback
        self._turn = turn
        self._on_started = on_started
        self._bell = Bell()
        self._buffer: FrameBuffer | None = None
        self._started = False
        self._fitter = RateFitter()

    def wake(self) -> None:
        """Look again whether the playback has ended."""
        self._bell.ring()

    async def run(self, receive: Receive) -> None:
        """Play to the end.

        Raises:
            ProviderFailed: there is no audio, or no more of it; what had come was heard.
        """
        failure: ProviderFailed | None = None
        try:
            await self._feed(receive)
        except ProviderFailed as failed:
            if not self._started:
                raise
            failure = failed
        await self._finish()
        if failure is not None:
            raise failure

    async def _feed(self, receive: Receive) -> None:
        while True:
            match await receive():
                case Audio() as audio:
                    await self._write(self._fitter.feed(audio))
                case Done():
                    await self._write(self._fitter.finish())
                    return
                case Mark():
                    pass

    async def _write(self, pieces: Iterable[Audio]) -> None:
        for audio in pieces:
            if self._buffer is None:
                self._buffer = FrameBuffer(audio.rate_hz, on_change=self._bell.ring)
            elif audio.rate_hz != self._buffer.rate_hz:
                raise ProviderFailed("unknown", "the audio changes its rate")
            step = int(audio.rate_hz * PIECE_S)
            for start in range(0, audio.pcm.size, step):
                while not self._buffer.has_room:
                    await self._bell.wait()
                self._buffer.write(audio.pcm[start : start + step])
                if self._buffer.has_frames:
                    await self._start(self._buffer)

    async def _start(self, buffer: FrameBuffer) -> None:
        """Let the plane have the audio as soon as it is its turn, once."""
        if self._started:
            return
        await self._turn.now.wait()
        self._started = True
        self._on_started()
        self._playback.attach(buffer)

    async def _finish(self) -> None:
        """Wait until all of it was heard."""
        if self._buffer is None:
            raise ProviderFailed("unknown", "there is no audio")
        self._buffer.end()
        await self._start(self._buffer)
        while not self._playback.finished:
            await self._bell.wait()


async def collect(receive: Receive, max_bytes: int) -> list[Audio]:
    """Return a whole utterance.

    Raises:
        ProviderFailed: it fails, or is longer than may be prepared.
    """
    fitter = RateFitter()
    pieces: list[Audio] = []
    size = 0
    while True:
        match await receive():
            case Audio() as audio:
                new = fitter.feed(audio)
            case Done():
                return [*pieces, *fitter.finish()]
            case Mark():
                new = []
        pieces += new
        size += sum(piece.pcm.nbytes for piece in new)
        if size > max_bytes:
            raise ProviderFailed("permanent_input", f"the audio is longer than {max_bytes} bytes")


def duration_ms(pieces: Iterable[Audio]) -> int:
    """Return how long audio lasts."""
    return round(sum(1000 * piece.pcm.size / piece.rate_hz for piece in pieces))
