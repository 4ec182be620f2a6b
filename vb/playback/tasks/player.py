"""The tasks that fill a playback: receive, decode what is there, keep the buffer full, report the end.

A worker thread is asked only for bytes that have arrived. While a source is slow nobody waits in a
thread, so it keeps none from the others; its playback is silent and does not move on.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import trio

from vb.blocking import Bell, Blocking
from vb.codecs.pcm import Pcm
from vb.media.decode import HEAD_BYTES, PIECE_S, AudioStream, choose_format
from vb.media.errors import DecodeError, FetchError, FetchLimit, PlaybackError
from vb.media.tones import ToneSource, parse_tone
from vb.playback.player import Finished, FrameBuffer, Playback
from vb.playback.tasks.download import Download
from vb.playback.tasks.fetch import Fetcher


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
    error: PlaybackError | None = None
    async with await fetcher.open(request.url or "") as download, trio.open_nursery() as nursery:
        nursery.start_soon(download.receive)
        try:
            await _Feeder(playback, blocking, bell, download, on_started).feed()
        except PlaybackError as failed:  # a nursery would wrap it up
            error = failed
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


class _Feeder:
    """Decodes a body into a playback's buffer while it arrives, as often as it is to be played."""

    def __init__(
        self,
        playback: Playback,
        blocking: Blocking,
        bell: Bell,
        download: Download,
        on_started: Callable[[], None],
    ) -> None:
        self._playback = playback
        self._blocking = blocking
        self._bell = bell
        self._download = download
        self._on_started = on_started
        self._buffer: FrameBuffer | None = None
        self._started = False
        self._failure: FetchError | None = None
        download.on_arrival = bell.ring

    async def feed(self) -> None:
        """Play the audio to its end and wait until the last frame was taken.

        Raises:
            PlaybackError: it cannot be decoded, or the download failed; what had arrived of that was
                played, unless it was too little to begin with or went beyond a limit.
        """
        await self._arrival(HEAD_BYTES)
        head = await self._blocking(partial(self._download.read, 0, HEAD_BYTES))
        request = self._playback.request
        self._format = choose_format(request.mime_type, self._download.target.path, head)
        short = await self._decode_once()
        if self._buffer is None:
            raise DecodeError("the file holds no audio")
        self._start(self._buffer)
        if self._failure is None:
            await self._repeat(self._buffer, short)
        self._buffer.end()
        await self._until(lambda: self._playback.finished)
        if self._failure is not None:
            raise self._failure

    async def _repeat(self, buffer: FrameBuffer, short: Pcm | None) -> None:
        """Play the passes after the first, which was read to the end of the audio."""
        passes = self._playback.request.passes
        done = 1
        while passes is None or done < passes:
            if short is None:
                await self._decode_once()
                done += 1
            else:
                fitting = int(buffer.rate_hz * PIECE_S) // short.size
                count = fitting if passes is None else min(fitting, passes - done)
                await self._write(np.tile(short, count), buffer.rate_hz)
                done += count

    async def _decode_once(self) -> Pcm | None:
        """Play the audio once, with no gap to what was played before.

        Returns:
            The audio if it was a single piece, so that a short file is not decoded over and over.

        Raises:
            DecodeError: it cannot be decoded.
            FetchError: the download failed before there was enough to start with.
        """
        stream = AudioStream(self._format)
        position = 0
        single: Pcm | None = None
        written = 0
        while not stream.ended:
            end = position + stream.wanted_bytes
            await self._arrival(end)
            last = self._download.over and self._download.size <= end
            end = min(end, self._download.size)
            for single in await self._decode(stream, position, end, last=last):
                await self._write(single, stream.rate_hz or 0)
                written += 1
            position = end
        return single if written == 1 else None

    async def _decode(self, stream: AudioStream, position: int, end: int, *, last: bool) -> list[Pcm]:
        """Decode a part of the body; where a broken one ends is remembered."""
        self._failure = self._download.failure if last else None
        try:
            pieces = await self._blocking(partial(self._decode_part, stream, position, end, last=last))
        except DecodeError as error:
            raise self._failure or error from None
        if stream.complete:
            self._failure = None
            self._download.leave()
        if self._failure is not None and not self._started:
            raise self._failure
        return pieces

    def _decode_part(self, stream: AudioStream, position: int, end: int, *, last: bool) -> list[Pcm]:
        """Decode a part of the body; runs in a worker thread."""
        stream.feed(self._download.read(position, end - position))
        if last:
            stream.finish()
        pieces = []
        while (pcm := stream.take()).size:
            pieces.append(pcm)
        return pieces

    async def _write(self, pcm: Pcm, rate_hz: int) -> None:
        """Hand on one piece when there is room for it; a full buffer is played."""
        if self._buffer is None:
            self._buffer = FrameBuffer(rate_hz, on_change=self._bell.ring)
        buffer = self._buffer
        await self._until(lambda: buffer.has_room)
        buffer.write(pcm)
        self._download.allow(pcm.size / rate_hz)
        if not buffer.has_room:
            self._start(buffer)

    def _start(self, buffer: FrameBuffer) -> None:
        """Let the plane have the audio, once."""
        if not self._started:
            self._started = True
            self._on_started()
            self._playback.attach(buffer)

    async def _arrival(self, size: int) -> None:
        """Wait until the body has ``size`` bytes or has no more to come."""
        await self._until(partial(self._download.has, size))

    async def _until(self, ready: Callable[[], bool]) -> None:
        """Wait for the plane or the download.

        Raises:
            FetchLimit: the download went too far.
        """
        while True:
            if isinstance(self._download.failure, FetchLimit):
                raise self._download.failure
            if ready():
                return
            await self._bell.wait()
