"""MP3 to PCM, frame by frame as the bytes arrive."""

from collections.abc import Iterable, Iterator
from typing import cast

import av.error
from av import CodecContext
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from vb.codecs.pcm import Pcm
from vb.media.conversion import mono_resampler, samples_of, storage_rate_hz
from vb.media.errors import DecodeError
from vb.media.mpeg_audio import Frame, FrameSplitter
from vb.media.wav import check_rate

_MAX_DAMAGED_FRAMES = 100


class Mp3Decoder:
    """Gives mono at the storage rate of the first frame; damaged frames are left out."""

    ended = False

    def __init__(self) -> None:
        self.rate_hz: int | None = None
        self._splitter = FrameSplitter()
        self._codec: AudioCodecContext | None = None
        self._resampler: AudioResampler | None = None
        self._shape: tuple[int, str, str] | None = None
        self._damaged = 0
        self._delay = 0

    def bytes_for(self, samples: int) -> int:
        """Return how many more bytes to wait for, as far as can be foreseen, to have that many samples."""
        return self._splitter.bytes_for(samples / self.rate_hz if self.rate_hz else 0.0)

    def feed(self, data: bytes) -> list[Pcm]:
        """Take the next bytes; returns the audio that can be given now.

        Raises:
            DecodeError: it is not MP3, too damaged, or at a rate that cannot be played.
        """
        return self._trimmed(self._decoded(self._splitter.feed(data)))

    def finish(self) -> list[Pcm]:
        """Say that nothing more comes; returns the rest of the audio.

        Raises:
            DecodeError: as `feed`.
        """
        rest = [*self._decoded(self._splitter.finish())]
        if self._resampler is not None:
            rest += samples_of(self._resampler.resample(None))
        return self._trimmed(rest)

    def _decoded(self, frames: list[Frame]) -> Iterator[Pcm]:
        for frame in frames:
            if frame.is_info:
                if self._codec is None:
                    self._delay = frame.delay_samples * storage_rate_hz(frame.rate_hz) // frame.rate_hz
                continue
            if self.rate_hz is None:
                self.rate_hz = storage_rate_hz(check_rate(frame.rate_hz))
            for decoded in self._decode(frame):
                yield from self._convert(decoded, self.rate_hz)

    def _decode(self, frame: Frame) -> list[AudioFrame]:
        if self._codec is None:
            self._codec = cast(AudioCodecContext, CodecContext.create("mp3float", "r"))  # of all three layers
        # Decoders read some bytes beyond the end. The parser's packets have memory of their own with zeros
        # there; with one made of the bytes, damaged frames would sound of whatever lies behind them.
        try:
            return self._codec.decode(frame.packet)
        except av.error.FFmpegError:
            self._damaged += 1
            if self._damaged > _MAX_DAMAGED_FRAMES:
                raise DecodeError("damaged MP3") from None
            return []

    def _convert(self, frame: AudioFrame, rate_hz: int) -> Iterator[Pcm]:
        # A file glued from several recordings may change rate or channels at a seam.
        shape = (frame.sample_rate, frame.layout.name, frame.format.name)
        if self._resampler is None or shape != self._shape:
            self._resampler, self._shape = mono_resampler(rate_hz), shape
        frame.pts = None
        yield from samples_of(self._resampler.resample(frame))

    def _trimmed(self, audio: Iterable[Pcm]) -> list[Pcm]:
        """Leave out the silence that the encoder put first."""
        kept = []
        for pcm in audio:
            kept.append(pcm[self._delay :])
            self._delay -= min(self._delay, pcm.size)
        return kept
