"""Audio on a phone's side of RTP: what it says, frame by frame, and what it hears, placed by timestamp."""

from __future__ import annotations

from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np

from vb.codecs.base import CODECS, make_encoder
from vb.codecs.pcm import Pcm
from vb.codecs.resample import StreamResampler
from vb.media.wav import WavReader
from vb.rtp.sequence import difference32

RATE_HZ: Final = 8000
FRAME_SAMPLES: Final = 160
FRAME_S: Final = FRAME_SAMPLES / RATE_HZ
SILENCE_DBFS: Final = -90.0
_MAX_SAMPLES: Final = 60 * RATE_HZ
_LEAD_SAMPLES: Final = 5 * FRAME_SAMPLES
"""Room before the first packet, for those that it overtook."""
_METER_SAMPLES: Final = 5 * FRAME_SAMPLES


class SpokenTrack:
    """What a phone says: silence until it is told to talk, then its speech once, then silence.

    Args:
        speech: at 8 kHz.
    """

    def __init__(self, speech: Pcm) -> None:
        self.speech = np.pad(speech, (0, -speech.size % FRAME_SAMPLES))
        self._payload = make_encoder(CODECS["PCMU"]).encode(self.speech)
        self._silence = make_encoder(CODECS["PCMU"]).encode(np.zeros(FRAME_SAMPLES, np.int16))
        self._position: int | None = None

    def talk(self) -> None:
        """Begin with the next frame."""
        self._position = 0

    def say(self, speech: Pcm) -> None:
        """Say something else, from the next frame on."""
        self.speech = np.pad(speech, (0, -speech.size % FRAME_SAMPLES))
        self._payload = make_encoder(CODECS["PCMU"]).encode(self.speech)
        self.talk()

    @property
    def finished(self) -> bool:
        """Whether the whole speech was said."""
        return self._position is not None and self._position >= self.speech.size

    def next_frame(self) -> bytes:
        """Return the payload of the next 20 ms."""
        start = self._advance()
        return self._silence if start is None else self._payload[start : start + FRAME_SAMPLES]

    def next_pcm(self) -> Pcm:
        """Return the audio of the next 20 ms, in place of `next_frame`."""
        start = self._advance()
        if start is None:
            return np.zeros(FRAME_SAMPLES, np.int16)
        return self.speech[start : start + FRAME_SAMPLES]

    def _advance(self) -> int | None:
        """Go on by a frame and return where it begins; None for silence."""
        start = self._position
        if start is None or start >= self.speech.size:
            return None
        self._position = start + FRAME_SAMPLES
        return start

    def level_dbfs(self) -> float:
        """Return the loudness of the last 100 ms."""
        if self._position is None or self.finished:
            return SILENCE_DBFS
        return level_dbfs(self.speech[max(0, self._position - _METER_SAMPLES) : self._position])


class HeardTrack:
    """What a phone hears: every packet lies where its RTP timestamp puts it, and gaps are silent.

    Args:
        clock_rate_hz: of the timestamps; a multiple of 8 kHz.

    Attributes:
        misplaced: packets whose timestamps lie outside of the track.
    """

    def __init__(self, clock_rate_hz: int = RATE_HZ) -> None:
        self.misplaced = 0
        self._steps = clock_rate_hz // RATE_HZ
        self._samples = np.zeros(_MAX_SAMPLES, np.int16)
        self._origin: int | None = None
        self._end = 0

    def place(self, timestamp: int, pcm: Pcm) -> None:
        """Put the audio of one packet in its place."""
        if self._origin is None:
            self._origin = (timestamp - _LEAD_SAMPLES * self._steps) & 0xFFFF_FFFF
        start = difference32(timestamp, self._origin) // self._steps
        end = start + pcm.size
        if start < 0 or end > self._samples.size:
            self.misplaced += 1
            return
        self._samples[start:end] = pcm
        self._end = max(self._end, end)

    @property
    def samples(self) -> Pcm:
        """Everything heard so far, at 8 kHz."""
        return self._samples[: self._end].copy()

    def level_dbfs(self) -> float:
        """Return the loudness of the last 100 ms."""
        return level_dbfs(self._samples[max(0, self._end - _METER_SAMPLES) : self._end])


def level_dbfs(pcm: Pcm) -> float:
    """Return the loudness of audio in dB below full scale, SILENCE_DBFS when there is none."""
    power = float(np.mean(np.square(pcm, dtype=np.float64))) if pcm.size else 0.0
    return max(SILENCE_DBFS, 10 * float(np.log10(power / 2**30))) if power else SILENCE_DBFS


def load_speech(name: str) -> Pcm:
    """Return a recording of this package, at 8 kHz."""
    data = files("vb.demo").joinpath(name).read_bytes()
    return WavReader(BytesIO(data)).read(_MAX_SAMPLES)


def load_recording(path: Path) -> tuple[Pcm, int]:
    """Return the audio of a WAV file at 8 kHz, and the rate that it has in the file.

    Raises:
        OSError: the file cannot be read.
        DecodeError: it holds no audio.
    """
    with path.open("rb") as file:
        reader = WavReader(file)
        pcm = reader.read(reader.rate_hz * _MAX_SAMPLES // RATE_HZ)
    if reader.rate_hz == RATE_HZ:
        return pcm, RATE_HZ
    whole = pcm.size - pcm.size % (reader.rate_hz // RATE_HZ)
    return StreamResampler(reader.rate_hz, RATE_HZ).process(pcm[:whole]), reader.rate_hz
