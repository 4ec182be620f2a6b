"""RTP payload formats of a media line, and the payload types a session has given away."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

from vb.codecs.base import CODECS, OPUS, Codec, find_codec
from vb.codecs.opus import DEFAULT_BIT_RATE
from vb.sdp.parser import decimal
from vb.sdp.session import Attribute, MediaDescription

TELEPHONE_EVENT: Final = "telephone-event"

_EVENTS_FMTP: Final = "0-16"
_MAX_PAYLOAD_TYPE: Final = 127
_MAX_CLOCK_HZ: Final = 192_000
_MIN_EVENT_CLOCK_HZ: Final = 8000
_MAX_CHANNELS: Final = 255
_REMEMBERED_CHARS: Final = 2048
"""Of what describes formats; longer ones are read anew every time: strangers decide what they are."""
_WRONG_CLOCKS: Final[Mapping[tuple[str, int | None], int]] = {
    ("g722", 16_000): 8000,  # it samples at 16 kHz, and counts 8 (RFC 3551 §4.5.2)
}
"""Clocks that peers write, and those that they mean."""
_UNSAID_CLOCKS: Final = {TELEPHONE_EVENT: ["8000"]}
_BIT_RATES: Final = range(6000, 510_001)
"""What `maxaveragebitrate` may say."""
_BIT_RATE_STEP: Final = 1000
"""Rates that far ends ask for are rounded down, so that they make few kinds of streams."""
_DYNAMIC_TYPES: Final = (*range(96, 128), *range(35, 64))


@dataclass(frozen=True)
class Format:
    """One payload type with what it stands for.

    Attributes:
        clock_rate_hz: RTP clock of the payload type.
        fmtp: its format parameters as text.
    """

    payload_type: int
    name: str
    clock_rate_hz: int
    channels: int = 1
    fmtp: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What two formats share when they are the same encoding."""
        return self.name.lower(), self.clock_rate_hz

    @cached_property
    def codec(self) -> Codec | None:
        """The audio codec this is, or None for events and codecs unknown here."""
        codec = find_codec(self.name)
        if codec is None or codec.clock_rate_hz != self.clock_rate_hz or self.channels > codec.channels:
            return None
        return codec

    @cached_property
    def is_event(self) -> bool:
        """True for telephone-event with a clock that can time digits."""
        return self.name.lower() == TELEPHONE_EVENT and self.clock_rate_hz >= _MIN_EVENT_CLOCK_HZ

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """The `a=rtpmap` and `a=fmtp` lines of this format."""
        channels = f"/{self.channels}" if self.channels > 1 else ""
        rtpmap = Attribute("rtpmap", f"{self.payload_type} {self.name}/{self.clock_rate_hz}{channels}")
        if self.fmtp is None:
            return (rtpmap,)
        return rtpmap, Attribute("fmtp", f"{self.payload_type} {self.fmtp}")


@lru_cache(maxsize=128)
def codec_format(codec: Codec, payload_type: int | None = None) -> Format:
    """Return the format of one of our codecs, with its own payload type unless another one is given."""
    return Format(
        codec.payload_type if payload_type is None else payload_type,
        codec.name,
        codec.clock_rate_hz,
        codec.channels,
        codec.fmtp,
    )


@lru_cache(maxsize=128)
def event_format(payload_type: int, clock_rate_hz: int) -> Format:
    """Return the format of the telephone events we send and take.

    Spec: RFC 4733 §2.4.1.
    """
    return Format(payload_type, TELEPHONE_EVENT, clock_rate_hz, 1, _EVENTS_FMTP)


UNMAPPED: Final[Mapping[int, Format]] = {codec.payload_type: codec_format(codec) for codec in CODECS.values()}
"""What payload types without `a=rtpmap` mean: the static ones, and 111, which peers use for Opus unsaid."""


def read_formats(media: MediaDescription, unmapped: Mapping[int, Format]) -> tuple[Format, ...]:
    """Return the understandable formats of an RTP media line in its order.

    Args:
        media: the media line.
        unmapped: meaning of payload types that have no `a=rtpmap`.
    """
    described = tuple(item for item in media.attributes if item.name in ("rtpmap", "fmtp"))
    if unmapped is UNMAPPED and sum(len(item.value or "") for item in described) <= _REMEMBERED_CHARS:
        return _usual_formats(media.formats, described)
    return _formats(media.formats, described, unmapped)


@lru_cache(maxsize=128)
def _usual_formats(numbers: tuple[str, ...], described: tuple[Attribute, ...]) -> tuple[Format, ...]:
    """Return the formats of an offer; phones of one make all list the same, and each offer is read twice."""
    return _formats(numbers, described, UNMAPPED)


def _formats(
    numbers: tuple[str, ...], described: tuple[Attribute, ...], unmapped: Mapping[int, Format]
) -> tuple[Format, ...]:
    maps: dict[int, Format] = {}
    parameters: dict[int, str] = {}
    for attribute in described:
        if attribute.name == "rtpmap" and (mapped := _rtpmap(attribute.value or "")) is not None:
            maps.setdefault(mapped.payload_type, mapped)
        elif attribute.name == "fmtp":
            number, *further = (attribute.value or "").split(None, 1) or [""]
            if (payload_type := decimal(number, _MAX_PAYLOAD_TYPE)) is not None:
                parameters.setdefault(payload_type, further[0].strip() if further else "")
    formats: dict[int, Format] = {}
    for text in numbers:
        payload_type = decimal(text, _MAX_PAYLOAD_TYPE)
        if payload_type is None or payload_type in formats:
            continue
        known = maps.get(payload_type) or unmapped.get(payload_type)
        if known is not None:
            formats[payload_type] = replace(
                known, payload_type=payload_type, fmtp=parameters.get(payload_type)
            )
    return tuple(formats.values())


def _rtpmap(value: str) -> Format | None:
    words = value.split()
    if len(words) != 2:
        return None
    name, *numbers = words[1].split("/")
    payload_type = decimal(words[0], _MAX_PAYLOAD_TYPE)
    numbers = numbers or _UNSAID_CLOCKS.get(name.lower(), [])
    clock_rate_hz = decimal(numbers[0], _MAX_CLOCK_HZ) if numbers else None
    clock_rate_hz = _WRONG_CLOCKS.get((name.lower(), clock_rate_hz), clock_rate_hz)
    channels = decimal(numbers[1], _MAX_CHANNELS) if len(numbers) > 1 and numbers[1] else 1
    if payload_type is None or not clock_rate_hz or not channels or not name:
        return None
    return Format(payload_type, name, clock_rate_hz, channels)


def first_format(formats: Iterable[Format], codec: Codec) -> Format | None:
    """Return the first of the formats that is this codec."""
    for item in formats:
        known = item.codec
        if known is not None and known.name == codec.name:
            return item
    return None


def choose_event(formats: Iterable[Format], clock_rate_hz: int) -> Format | None:
    """Return the telephone-event entry for a codec of this clock, else the lowest one, else None.

    Spec: RFC 4733 §2.1 wants the clock of the audio; peers that offer another one still get digits.
    """
    lowest: Format | None = None
    for item in formats:
        if item.is_event:
            if item.clock_rate_hz == clock_rate_hz:
                return item
            if lowest is None or item.payload_type < lowest.payload_type:
                lowest = item
    return lowest


def wanted_formats(codecs: Sequence[Codec]) -> tuple[Format, ...]:
    """Return the formats of an offer of these codecs: each codec, then its telephone events."""
    events = [event_format(101, 8000)]
    if any(codec.clock_rate_hz == 48_000 for codec in codecs):
        events.insert(0, event_format(100, 48_000))
    return (*(codec_format(codec) for codec in codecs), *events)


def bind_types(bound: dict[int, Format], formats: Iterable[Format]) -> dict[int, Format]:
    """Return the payload types of a session after these formats have been described in it."""
    types = bound.copy()
    for item in formats:
        types[item.payload_type] = item
    return types


def assign_types(formats: Sequence[Format], bound: dict[int, Format]) -> tuple[Format, ...]:
    """Return the formats with payload types that keep every meaning the session has given one.

    A format that the session knows keeps its type; a new one gets its own default or a free dynamic type.

    Spec: RFC 3264 §8.3.2.
    """
    assigned: dict[int, Format] = {}
    known = {item.key: payload_type for payload_type, item in reversed(bound.items())}
    reserved = {known[item.key] for item in formats if item.key in known}
    for item in formats:
        payload_type = known.get(item.key, item.payload_type)
        if payload_type in assigned or (item.key not in known and payload_type in bound):
            taken = assigned.keys() | reserved
            unused = [number for number in _DYNAMIC_TYPES if number not in taken]
            payload_type = next((number for number in unused if number not in bound), unused[0])
        assigned[payload_type] = replace(item, payload_type=payload_type)
    return tuple(assigned.values())


def codecs_by_type(formats: Iterable[Format]) -> dict[int, Codec]:
    """Return the codecs among formats by their payload types."""
    return {item.payload_type: item.codec for item in formats if item.codec is not None}


def events_by_type(formats: Iterable[Format]) -> dict[int, int]:
    """Return the clocks in Hz of the telephone events among formats by their payload types."""
    return {item.payload_type: item.clock_rate_hz for item in formats if item.is_event}


def parameters_of(fmtp: str | None) -> Iterator[tuple[str, str]]:
    """Yield the format parameters that are written as `name=value;…`, names in lower case."""
    for parameter in (fmtp or "").split(";"):
        name, _, value = parameter.partition("=")
        yield name.strip().lower(), value.strip()


def within(codec: Codec, fmtp: str | None) -> Codec:
    """Return a codec at no more bit/s than a far end's parameters allow.

    Spec: RFC 7587 §6.1; values of `maxaveragebitrate` outside of 6000 to 510000 count as none.
    """
    if codec.name != OPUS.name:
        return codec
    for name, value in parameters_of(fmtp):
        rate = decimal(value, _BIT_RATES[-1]) if name == "maxaveragebitrate" else None
        if rate is not None and rate in _BIT_RATES and rate < (codec.bit_rate or DEFAULT_BIT_RATE):
            return replace(codec, bit_rate=rate // _BIT_RATE_STEP * _BIT_RATE_STEP)
    return codec
