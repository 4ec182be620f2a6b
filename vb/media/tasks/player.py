"""The task that fills a playback: download, decode, keep the buffer full, report the end."""

from collections.abc import Callable
from contextlib import closing
from typing import BinaryIO

import numpy as np
import trio

from vb.codecs.pcm import Pcm
from vb.media.decode import HEAD_BYTES, PIECE_S, AudioFormat, AudioStream, choose_format
from vb.media.errors import DecodeError
from vb.media.player import Finished, FrameBuffer, Playback
from vb.media.tasks.blocking import Bell, Blocking
from vb.media.tasks.fetch import Fetcher
from vb.media.tones import ToneSource, parse_tone


async def run_playback(
    playback: Playback, *, fetcher: Fetcher, blocking: Blocking, on_started: Callable[[], None]
) -> Finished:
    """Play until the end of the audio or until `Playback.stop`.

    Args:
        playback: also given to the plane as a frame source; it is silent until the audio is ready.
        fetcher: downloads its URL.
        blocking: runs the decoder; it must not abandon functions on cancellation.
        on_started: called once, when the first frame is about to be played and not before the
            audio is known to be good.

    Returns:
        How it ended. A stop is the playback's own; a cancelled caller gets Cancelled instead.

    Cancellation: stops the playback; the download, the decoder and the temporary file are closed.

    Raises:
        PlaybackError: nothing can be played, or the rest of it cannot; the text is fit for an event.
    """
    with trio.CancelScope() as scope:
        bell = Bell()

        def wake() -> None:
            bell.ring()
            if playback.end_reason == "stopped":
                scope.cancel()

        playback.on_end = wake
        try:
            if playback.finished:
                scope.cancel()
            await _play(playback, fetcher, blocking, on_started, bell)
        finally:
            playback.stop()
    return Finished(playback.end_reason or "stopped", playback.played_ms, playback.underruns)


async def _play(
    playback: Playback, fetcher: Fetcher, blocking: Blocking, on_started: Callable[[], None], bell: Bell
) -> None:
    request = playback.request
    await trio.lowlevel.checkpoint()
    if request.tone is not None:
        source = ToneSource(parse_tone(request.tone))
        on_started()
        playback.attach(source)
        await trio.sleep_forever()
    download = await fetcher.fetch(request.url or "")
    with download.file as file:
        head = file.read(HEAD_BYTES)
        audio_format = choose_format(request.mime_type, download.target.path, head)
        await _Feeder(playback, blocking, bell, file, audio_format).feed(on_started)


class _Feeder:
    """Decodes a file into a playback's buffer, as often as it is to be played."""

    def __init__(
        self, playback: Playback, blocking: Blocking, bell: Bell, file: BinaryIO, audio_format: AudioFormat
    ) -> None:
        self._playback = playback
        self._blocking = blocking
        self._bell = bell
        self._file = file
        self._format = audio_format

    async def feed(self, on_started: Callable[[], None]) -> None:
        """Play the file to its end and wait until the last frame was taken."""
        stream, first = await self._open()
        buffer = FrameBuffer(stream.rate_hz, on_change=self._bell.ring)
        on_started()
        self._playback.attach(buffer)
        short = await self._decode(buffer, stream, first)
        passes = self._playback.request.passes
        done = 1
        while passes is None or done < passes:
            if short is None:
                await self._decode(buffer, *await self._open())
                done += 1
            else:
                fitting = int(buffer.rate_hz * PIECE_S) // short.size
                count = fitting if passes is None else min(fitting, passes - done)
                await self._write(buffer, np.tile(short, count))
                done += count
        buffer.end()
        while not self._playback.finished:
            await self._bell.wait()

    async def _open(self) -> tuple[AudioStream, Pcm]:
        """Open the decoder and get the first piece of audio out of it.

        Raises:
            DecodeError: it cannot be decoded or holds no audio.
        """
        stream = await self._blocking(lambda: AudioStream(self._file, self._format))
        try:
            first = await self._blocking(stream.read)
            if not first.size:
                raise DecodeError("the file holds no audio")
        except BaseException:
            stream.close()
            raise
        return stream, first

    async def _decode(self, buffer: FrameBuffer, stream: AudioStream, first: Pcm) -> Pcm | None:
        """Play the file once, with no gap to what was played before.

        Returns:
            The audio if it was a single piece, so that a short file is not decoded over and over.
        """
        with closing(stream):
            await self._write(buffer, first)
            single = True
            while (pcm := await self._blocking(stream.read)).size:
                await self._write(buffer, pcm)
                single = False
        return first if single else None

    async def _write(self, buffer: FrameBuffer, pcm: Pcm) -> None:
        """Hand on one piece when there is room for it."""
        while not buffer.has_room:
            await self._bell.wait()
        buffer.write(pcm)
