"""The audio codecs vb speaks, and the objects that code one stream of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Final, Protocol, Self, runtime_checkable

from vb.codecs import g711
from vb.codecs.g722 import G722Decoder, make_g722_encoder
from vb.codecs.opus import DEFAULT_BIT_RATE, OpusDecoder, OpusEncoder
from vb.codecs.pcm import CodecError, Pcm

__all__ = [
    "CODECS",
    "Codec",
    "CodecError",
    "CopyableEncoder",
    "Decoder",
    "Encoder",
    "Pcm",
    "at_rate",
    "find_codec",
    "has_rates",
    "make_decoder",
    "make_encoder",
]


@dataclass(frozen=True, slots=True)
class Codec:
    """One audio format as SDP names it and as the mixer hears it.

    Attributes:
        name: encoding name with the spelling vb uses in SDP and in its API.
        payload_type: static type, or the dynamic one of our own offers.
        clock_rate_hz: RTP clock; 8000 for G.722 although it carries 16 kHz audio (RFC 3551 §4.5.2).
        pcm_rate_hz: sample rate of the leg that uses this codec; Opus has others too, see `at_rate`.
        channels: channel count written to SDP; the audio itself is always mono.
        fmtp: format parameters of our offers and answers.
        tabled: coded by look-up table, so that the media plane handles many streams in one call.
        bit_rate: what it is encoded with, in bit/s, where a codec lets choose; 0 for its usual one.
    """

    name: str
    payload_type: int
    clock_rate_hz: int
    pcm_rate_hz: int
    channels: int = 1
    fmtp: str | None = None
    tabled: bool = False
    bit_rate: int = 0


PCMU: Final = Codec("PCMU", 0, 8000, 8000, tabled=True)
PCMA: Final = Codec("PCMA", 8, 8000, 8000, tabled=True)
G722: Final = Codec("G722", 9, 8000, 16000)
OPUS: Final = Codec(
    "opus", 111, 48000, 48000, channels=2, fmtp="minptime=20; useinbandfec=1; stereo=0; sprop-stereo=0"
)

CODECS: Final[Mapping[str, Codec]] = MappingProxyType(
    {codec.name: codec for codec in (PCMU, PCMA, G722, OPUS)}
)
"""Every codec by its canonical name."""


def has_rates(codec: Codec) -> bool:
    """Whether a codec takes and gives samples of any rate of the mixer."""
    return codec.name == OPUS.name


@cache
def at_rate(codec: Codec, rate_hz: int) -> Codec:
    """Return a codec at another sample rate where it has several, else as it is.

    Opus runs at the rate of those who listen: what is above it would be lost in the conversion anyway.
    """
    return replace(codec, pcm_rate_hz=rate_hz) if has_rates(codec) else codec


_BY_FOLDED_NAME = {name.casefold(): codec for name, codec in CODECS.items()}


class Encoder(Protocol):
    """Turns the PCM of one outgoing stream into payloads; calls must follow the stream's order."""

    def encode(self, pcm: Pcm) -> bytes:
        """Return the payload of one frame at the codec's PCM rate.

        Raises:
            CodecError: the codec has no frame of that length.
        """
        ...


@runtime_checkable
class CopyableEncoder(Encoder, Protocol):
    """An encoder that can go on where another one of its kind stands."""

    def copy_from(self, other: Self) -> None:
        """Take over the whole state of another encoder, settings included."""
        ...


class Decoder(Protocol):
    """Turns the payloads of one incoming stream into PCM; calls must follow the stream's order."""

    def decode(self, payload: bytes) -> Pcm:
        """Return the audio of one payload at the codec's PCM rate.

        Raises:
            CodecError: the payload is damaged; the next one may be tried.
        """
        ...

    def conceal(self, samples: int) -> Pcm:
        """Return a guess at `samples` of audio that did not arrive, fading to silence."""
        ...


def find_codec(name: str) -> Codec | None:
    """Return the codec of that encoding name in any letter case, or None when vb does not speak it."""
    return _BY_FOLDED_NAME.get(name.casefold())


def make_encoder(codec: Codec) -> Encoder:
    """Return a fresh encoder for one outgoing stream.

    Raises:
        CodecError: the library of this codec is missing.
    """
    match codec.name:
        case "PCMU":
            return g711.TableEncoder(g711.PCM_TO_ULAW)
        case "PCMA":
            return g711.TableEncoder(g711.PCM_TO_ALAW)
        case "G722":
            return make_g722_encoder()
        case "opus":
            return OpusEncoder(codec.pcm_rate_hz, bit_rate=codec.bit_rate or DEFAULT_BIT_RATE)
    raise CodecError(f"no encoder for {codec.name}")


def make_decoder(codec: Codec) -> Decoder:
    """Return a fresh decoder for one incoming stream.

    Raises:
        CodecError: the library of this codec is missing.
    """
    match codec.name:
        case "PCMU":
            return g711.TableDecoder(g711.ULAW_TO_PCM)
        case "PCMA":
            return g711.TableDecoder(g711.ALAW_TO_PCM)
        case "G722":
            return G722Decoder()
        case "opus":
            return OpusDecoder(codec.pcm_rate_hz)
    raise CodecError(f"no decoder for {codec.name}")
