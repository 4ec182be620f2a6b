"""Opus through libopus: mono voice with in-band error correction and loss concealment.

Spec: RFC 6716, RTP payload RFC 7587.
"""

import ctypes
from typing import Final, Self

import numpy as np

from vb.codecs import libopus
from vb.codecs.complexity import HIGHEST_AUTO, LEAN
from vb.codecs.pcm import FADE_MS, CodecError, Pcm

RATES_HZ: Final = (8000, 12000, 16000, 24000, 48000)
DEFAULT_BIT_RATE: Final = 28_000
DEFAULT_EXPECTED_LOSS_PERCENT: Final = 5
"""Above zero, because libopus adds no error correction where it expects no loss."""
DTX_MAX_BYTES: Final = 2
"""A payload of at most this size says that the peer is silent and sends nothing for a while."""
_MAX_PAYLOAD_BYTES = 1275 * 3
_MAX_FRAME_MS = 120
_MONO = 1


def opus_available(path: str | None = None) -> bool:
    """Tell whether a libopus can be loaded, at `path` or where the system and PyAV keep theirs."""
    return libopus.load(path) is not None


def _library(path: str | None, rate_hz: int) -> libopus.LibOpus:
    if rate_hz not in RATES_HZ:
        raise CodecError(f"Opus has no {rate_hz} Hz mode")
    library = libopus.load(path)
    if library is None:
        raise CodecError("libopus was not found")
    return library


class OpusEncoder:
    """Encodes one outgoing stream.

    Args:
        rate_hz: rate of the PCM it takes; RTP counts 48 kHz whatever this is.
        bit_rate: target in bit/s.
        library_path: which libopus to load, the default search when None.

    Attributes:
        complexity: how much work goes into each frame, 0 to 10 or `LEAN`.
        library: that it is a state of.
        address: where its state lies, as long as it lives.

    Raises:
        CodecError: libopus is missing or has no such rate.
    """

    def __init__(
        self, rate_hz: int = 48000, *, bit_rate: int = DEFAULT_BIT_RATE, library_path: str | None = None
    ) -> None:
        self.library = opus = _library(library_path, rate_hz)
        self._state = ctypes.create_string_buffer(opus.encoder_size(_MONO))
        self.address = ctypes.addressof(self._state)
        # One place for all payloads: to make an array and find its address takes longer than to copy one.
        room = ctypes.create_string_buffer(_MAX_PAYLOAD_BYTES)
        self._place, self._payload = ctypes.addressof(room), memoryview(room).cast("B")
        opus.check(
            opus.encoder_init(self.address, rate_hz, _MONO, libopus.APPLICATION_VOIP), "Opus encoder set-up"
        )
        self.complexity = HIGHEST_AUTO
        self._set(libopus.SET_COMPLEXITY, HIGHEST_AUTO)
        self._set(libopus.SET_INBAND_FEC, 1)
        self.set_bit_rate(bit_rate)
        self.set_expected_loss(DEFAULT_EXPECTED_LOSS_PERCENT)

    def _set(self, request: int, value: int) -> None:
        self.library.check(
            self.library.encoder_ctl(self.address, request, ctypes.c_int32(value)), "Opus setting"
        )

    def set_complexity(self, level: int) -> None:
        """Change how much work goes into each frame, from the next one on; costs nothing where it stays.

        Args:
            level: 0 to 10, or `LEAN` to leave the part of the codec that is made for speech unused. That
                takes a third of the time of level 0 and mends no losses. libopus does so where the bit rate
                allows: from about 24 kbit/s for an encoder that is new, from about 28 kbit/s for one that
                has coded speech. Below that it goes on as at level 0.

        Raises:
            CodecError: there is no such level.
        """
        if level == self.complexity:
            return
        is_lean = level == LEAN
        self._set(libopus.SET_COMPLEXITY, 0 if is_lean else level)
        if is_lean or self.complexity == LEAN:
            # What it takes for music it codes by its transform, which has no model of a voice to fit.
            self._set(libopus.SET_SIGNAL, libopus.SIGNAL_MUSIC if is_lean else libopus.SIGNAL_AUTO)
        self.complexity = level

    def set_bit_rate(self, bit_rate: int) -> None:
        """Change the target in bit/s from the next frame on.

        Raises:
            CodecError: the value is not a bit rate.
        """
        self._set(libopus.SET_BITRATE, bit_rate)

    def set_expected_loss(self, percent: int) -> None:
        """Say how many packets of a hundred the peer misses; more loss buys more error correction.

        Raises:
            CodecError: `percent` is not within 0 to 100.
        """
        self._set(libopus.SET_PACKET_LOSS_PERC, percent)

    def copy_from(self, other: Self) -> None:
        """Go on where another encoder stands, so that a decoder of its payloads does not notice the change.

        libopus keeps a state in one block without pointers into itself, which may be copied.

        Raises:
            CodecError: the other one has another kind of state.
        """
        if len(other._state) != len(self._state) or other.library is not self.library:
            raise CodecError("Opus encoders of two libraries")
        ctypes.memmove(self._state, other._state, len(self._state))
        self.complexity = other.complexity

    def encode(self, pcm: Pcm) -> bytes:
        """Return the payload of one frame of 2.5, 5, 10, 20, 40 or 60 ms.

        Raises:
            CodecError: the frame has another length.
        """
        samples = np.asarray(pcm, np.int16)
        size = self.library.encode(
            self.address, samples.tobytes(), samples.size, self._place, _MAX_PAYLOAD_BYTES
        )
        return self._payload[: self.library.check(size, "Opus encoding")].tobytes()


class OpusDecoder:
    """Decodes one incoming stream to mono, whatever its packets hold.

    Args:
        rate_hz: rate of the PCM it gives; libopus converts on the way.
        library_path: which libopus to load, the default search when None.

    Attributes:
        library: that it is a state of.
        address: where its state lies, as long as it lives.

    Raises:
        CodecError: libopus is missing or has no such rate.
    """

    def __init__(self, rate_hz: int = 48000, *, library_path: str | None = None) -> None:
        self.library = opus = _library(library_path, rate_hz)
        self._state = ctypes.create_string_buffer(opus.decoder_size(_MONO))
        self.address = ctypes.addressof(self._state)
        opus.check(opus.decoder_init(self.address, rate_hz, _MONO), "Opus decoder set-up")
        self._longest = rate_hz * _MAX_FRAME_MS // 1000
        # Audio is copied from one place: to ask an array for its address takes longer than to decode silence.
        self._room = np.empty(self._longest, np.int16)
        self._room_address = self._room.ctypes.data
        self._step_samples = rate_hz // 400
        self._fade_end = rate_hz * FADE_MS // 1000
        self._fade_samples = self._fade_end // 3
        self._concealed_samples = 0

    @property
    def conceals(self) -> bool:
        """Whether what it gave last was made up."""
        return bool(self._concealed_samples)

    def decode(self, payload: bytes) -> Pcm:
        """Return the audio of one packet, up to 120 ms.

        Raises:
            CodecError: the packet is empty or damaged.
        """
        if not payload:
            raise CodecError("Opus decoding: the packet is empty")
        pcm = self._run(payload, self._longest, fec=False)
        self._concealed_samples = 0
        return pcm

    def decode_fec(self, payload: bytes, samples: int) -> Pcm:
        """Return the `samples` *before* `payload`, rebuilt from the copy that packet carries.

        Where it carries none, libopus conceals instead. Decode `payload` itself afterwards.

        Raises:
            CodecError: the packet is empty or damaged, or `samples` is no multiple of 2.5 ms up to 120 ms.
        """
        if not payload:
            raise CodecError("Opus decoding: the packet is empty")
        return self._run(payload, samples, fec=True)

    def conceal(self, samples: int) -> Pcm:
        """Return libopus' guess at `samples` that did not arrive, fading to silence within `FADE_MS`."""
        start = self._concealed_samples
        self._concealed_samples = min(start + samples, self._fade_end)
        concealed = np.zeros(samples, np.int16)
        wanted = self._concealed_samples - start
        if wanted:
            # libopus conceals in steps of 2.5 ms; what a step gives beyond the gap is cut off.
            steps = -(-wanted // self._step_samples)
            guess = self._run(None, steps * self._step_samples, fec=False)[:wanted]
            left = self._fade_end - np.arange(start, start + wanted)
            concealed[:wanted] = guess * np.minimum(1.0, left / self._fade_samples)
        return concealed

    def _run(self, payload: bytes | None, samples: int, *, fec: bool) -> Pcm:
        if samples > self._longest:
            raise CodecError(f"Opus decoding: {samples} samples are more than one packet holds")
        size = 0 if payload is None else len(payload)
        count = self.library.decode(self.address, payload, size, self._room_address, samples, fec)
        if count < 0:
            self.library.check(count, "Opus decoding")
        return self._room[:count].copy()
