"""Audio on its way to an agent and from it: formats, blocks, and what is dropped with an interrupted turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from vb.codecs.g711 import ALAW_TO_PCM, PCM_TO_ALAW, PCM_TO_ULAW, ULAW_TO_PCM
from vb.codecs.pcm import Pcm, levels_of, pcm_bytes
from vb.codecs.resample import RATES_HZ, StreamResampler
from vb.media.conversion import RateConverter
from vb.media.one_rate import OneRate
from vb.mixer.frames import TICKS_PER_S

Encoding = Literal["s16le", "ulaw", "alaw"]

FRAME_MS: Final = 1000 // TICKS_PER_S
MAX_SPEECH_MS: Final = 60_000
"""How far an agent may be ahead of what is heard; providers send whole replies at once."""

_ODD_RATES_HZ: Final = {22_050: 24_000, 44_100: 48_000}
"""Rates of which 20 ms are no whole number of samples."""
LEAD_FRAMES: Final = 2
"""What is held back at the beginning of speech of those who send it just in time."""
AHEAD_FRAMES: Final = 10
"""So many frames are brought to the listener's rate at once, where they are there."""
PATIENCE_TICKS: Final = 2
"""So long the rest of a frame, or of the lead, is waited for."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How audio is written: mono, at a rate, in an encoding.

    Raises:
        ValueError: the server cannot convert the rate.
    """

    rate_hz: int = 16_000
    encoding: Encoding = "s16le"

    def __post_init__(self) -> None:
        if self.rate_hz not in RATES_HZ and self.rate_hz not in _ODD_RATES_HZ:
            raise ValueError(f"no audio at {self.rate_hz} Hz")

    @property
    def near_hz(self) -> int:
        """Return the rate at which its audio is held: its own, or the next one that frames can have."""
        return _ODD_RATES_HZ.get(self.rate_hz, self.rate_hz)

    @property
    def sample_bytes(self) -> int:
        """Return the size of a sample."""
        return 2 if self.encoding == "s16le" else 1

    def decode(self, data: bytes) -> Pcm:
        """Return the samples of whole bytes; half a sample at the end is left out."""
        if self.encoding == "s16le":
            return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16, copy=False)
        table = ULAW_TO_PCM if self.encoding == "ulaw" else ALAW_TO_PCM
        pcm: Pcm = table[np.frombuffer(data, np.uint8)]
        return pcm

    def encode(self, pcm: Pcm) -> bytes:
        """Return the bytes of samples."""
        if self.encoding == "s16le":
            return pcm_bytes(pcm)
        table = PCM_TO_ULAW if self.encoding == "ulaw" else PCM_TO_ALAW
        return table[np.ascontiguousarray(pcm).view(np.uint16)].tobytes()


class Ears:
    """What an agent hears: a sink of frames that cuts them into blocks at the provider's rate.

    Args:
        rate_hz: the provider's.
        block_ms: length of a block, a multiple of 20.
        send: takes a whole block inside the tick, so it must not wait.
    """

    def __init__(self, rate_hz: int, block_ms: int, send: Callable[[Pcm], None]) -> None:
        near_hz = AudioFormat(rate_hz).near_hz
        self._rate = OneRate(near_hz)
        self._converter = RateConverter(near_hz, rate_hz) if near_hz != rate_hz else None
        self._frames_per_block = max(1, block_ms // FRAME_MS)
        self._send = send
        self._block: list[Pcm] = []

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms."""
        pcm = self._rate.convert(frame, rate_hz)
        if pcm is frame and self._frames_per_block > 1:
            pcm = frame.copy()  # it is only lent
        self._block.append(pcm)
        if len(self._block) == self._frames_per_block:
            block = self._block[0] if len(self._block) == 1 else np.concatenate(self._block)
            self._block.clear()
            for piece in [block] if self._converter is None else self._converter.feed(block):
                self._send(piece)


@dataclass(slots=True)
class _Piece:
    turn: int
    pcm: Pcm
    at: int = 0


class Mouth:
    """What an agent says: a source of frames that holds what is ahead of being heard.

    The one place where audio of an interrupted turn is dropped: what is held when the interruption comes, and
    what comes of that turn afterwards.

    Args:
        audio_format: how the provider writes audio.
        lead_frames: speech begins once so much of it is there, or all of it.

    Attributes:
        finished: True once nothing may be heard of it any more.
        dropped_ms: what had no room.
        turn: the newest turn of which something was heard.
        played_ms: how much of it was heard.
        paused: whether it holds its tongue; it goes on at the same sample.
        on_turn: told when the first frame of a turn is heard, inside the tick.
        on_taken: told when a frame was taken, inside the tick.
        on_said: told how loud each frame is that is heard, as the root of its mean square, inside the tick.
    """

    def __init__(self, audio_format: AudioFormat, *, lead_frames: int = LEAD_FRAMES) -> None:
        self.finished = False
        self.paused = False
        self.on_turn: Callable[[int], None] = _ignore
        self.on_taken: Callable[[], None] = _do_nothing
        self.on_said: Callable[[float], None] | None = None
        self.dropped_ms = 0.0
        self.turn = 0
        self._cut = -1
        self._format = audio_format
        self._lead_frames = lead_frames
        self._rate_hz = audio_format.near_hz
        self._converter = self._make_converter()
        self._pieces: deque[_Piece] = deque()
        self._held = 0
        self._played = 0
        self._odd = b""
        self._speaking = False
        self._waited = 0
        self._ahead: deque[tuple[Pcm, float | None]] = deque()
        """What is heard next, at the listener's rate."""
        self._ahead_hz = 0
        self._resampler: StreamResampler | None = None

    @property
    def waiting_ms(self) -> float:
        """How much waits to be heard."""
        return self._held * 1000 / self._rate_hz

    @property
    def played_ms(self) -> int:
        """How much of the newest turn was heard."""
        return self._played * 1000 // self._rate_hz

    @property
    def played_samples(self) -> int:
        """How much of the newest turn was heard, at the rate at which audio is held."""
        return self._played

    @property
    def audio_format(self) -> AudioFormat:
        """How the provider writes audio."""
        return self._format

    def reformat(self, audio_format: AudioFormat) -> None:
        """Go on in another format: behind what is held of the old one, at its rate until that was heard."""
        if audio_format != self._format:
            self._format, self._odd = audio_format, b""
            self._converter = self._make_converter()

    def _settle(self) -> None:
        """Hold audio at the rate of its format, now that nothing is held at another."""
        rate_hz = self._format.near_hz
        self._played = self._played * rate_hz // self._rate_hz
        self._rate_hz = rate_hz
        self._converter = self._make_converter()
        self._forget_ahead()

    def _make_converter(self) -> RateConverter | None:
        own_hz = self._format.rate_hz
        return RateConverter(own_hz, self._rate_hz) if own_hz != self._rate_hz else None

    def put(self, data: bytes, turn: int) -> bool:
        """Take audio of any length, unless its turn is over or there is no room; returns whether it was."""
        if turn <= self._cut or self.finished:
            return False  # nor is half a sample of it kept, which would shift all that follows
        if not self._held and self._rate_hz != self._format.near_hz:
            self._settle()
        size = self._format.sample_bytes
        data = self._odd + data
        whole = len(data) // size * size
        data, self._odd = data[:whole], data[whole:]
        length_ms = whole / size * 1000 / self._format.rate_hz
        if self.waiting_ms + length_ms > MAX_SPEECH_MS:
            self.dropped_ms += length_ms
            return False
        pcm = self._format.decode(data)
        for piece in [pcm] if self._converter is None else self._converter.feed(pcm):
            if piece.size:
                self._pieces.append(_Piece(turn, piece))
                self._held += piece.size
        return True

    def interrupt(self, turn: int) -> bool:
        """Silence the turns up to `turn` for good; returns whether anything of them was left."""
        self._cut = max(self._cut, turn)
        kept = deque(piece for piece in self._pieces if piece.turn > self._cut)
        held = len(kept) != len(self._pieces)
        self._pieces = kept
        self._held = sum(piece.pcm.size - piece.at for piece in kept)
        if held:
            self._forget_ahead()
        self._odd, self._converter = b"", self._make_converter()
        return held

    def shut(self) -> None:
        """Say nothing any more."""
        self.finished = True
        self._drop()

    def _drop(self) -> None:
        self._pieces.clear()
        self._held, self._odd = 0, b""
        self._forget_ahead()

    def take(self, rate_hz: int) -> Pcm | None:
        """Return the next 20 ms at a rate, None while there is nothing to hear."""
        if self.paused or not self._may_speak():
            return None
        if rate_hz != self._ahead_hz:
            self._forget_ahead()
            self._ahead_hz = rate_hz
            self._resampler = None if rate_hz == self._rate_hz else StreamResampler(self._rate_hz, rate_hz)
        if not self._ahead:
            self._convert_ahead()
        frame, level = self._ahead.popleft()
        self._consume(self._rate_hz // TICKS_PER_S)
        self.on_taken()
        if level is not None and self.on_said is not None:
            self.on_said(level)
        return frame

    def _forget_ahead(self) -> None:
        """Begin anew with what is held: something else follows than was converted."""
        self._ahead.clear()
        self._ahead_hz = 0

    def _convert_ahead(self) -> None:
        """Bring the next whole frames to the listener's rate, some at once: ten cost little more than one."""
        samples = self._rate_hz // TICKS_PER_S
        count = min(self._held // samples, AHEAD_FRAMES) or 1
        pcm = self._peek(count * samples)
        if self._resampler is not None:
            pcm = self._resampler.process(pcm)
        frames = pcm.reshape(count, -1)
        if self.on_said is None:
            self._ahead.extend((frame, None) for frame in frames)
        else:
            self._ahead.extend(zip(frames, levels_of(frames), strict=True))

    def _peek(self, samples: int) -> Pcm:
        """Return what is heard next; silence follows what is there."""
        first = self._pieces[0]
        if first.pcm.size - first.at >= samples:
            return first.pcm[first.at : first.at + samples]
        pcm, filled = np.zeros(samples, np.int16), 0
        for piece in self._pieces:
            part = piece.pcm[piece.at : piece.at + samples - filled]
            pcm[filled : filled + part.size] = part
            filled += part.size
            if filled == samples:
                break
        return pcm

    def _may_speak(self) -> bool:
        """Hold speech back for a moment at its beginning, for many providers send it just in time."""
        samples = self._rate_hz // TICKS_PER_S
        if self._held >= (samples if self._speaking else self._lead_frames * samples):
            self._speaking, self._waited = True, 0
            return True
        self._waited += 1
        if self._held and self._waited > PATIENCE_TICKS:
            return True  # that is all there is
        if not self._held:
            self._speaking, self._waited = False, 0
        return False

    def _consume(self, samples: int) -> None:
        """Take note that so much of what is held is heard, or all of it if that is less."""
        left = samples
        while left and self._pieces:
            piece = self._pieces[0]
            if piece.turn != self.turn:
                self.turn, self._played = piece.turn, 0
                self.on_turn(piece.turn)
            part = min(left, piece.pcm.size - piece.at)
            left -= part
            piece.at += part
            self._played += part
            if piece.at == piece.pcm.size:
                self._pieces.popleft()
        self._held -= samples - left


def _ignore(told: object) -> None:
    """Stand in for a callback nobody has set."""


def _do_nothing() -> None:
    """Stand in for another."""
