"""The `a=crypto` attribute: keys of SRTP that travel in session descriptions.

A line that cannot be used as it stands is left out as if it had not come: RFC 4568 has each line judged on
its own. No error and no representation of what is read here holds a key.

Spec: RFC 4568, RFC 7714 §14.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from vb.sdp.parser import decimal
from vb.sdp.session import Attribute, MediaDescription

_MAX_TAG: Final = 999_999_999
_MAX_LIFETIME_BITS: Final = 48
_MIN_LIFETIME: Final = 2**20
"""Nearly six hours of packets of 20 ms: a key that is to be replaced earlier is not taken."""
_MAX_WINDOW_HINT: Final = 10**6


class Suite(Enum):
    """Ways to protect SRTP, by their names in descriptions; the best first."""

    AEAD_AES_128_GCM = "AEAD_AES_128_GCM"
    AEAD_AES_256_GCM = "AEAD_AES_256_GCM"
    AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"

    @property
    def size_bytes(self) -> int:
        """Bytes of a master key with its salt."""
        return _SIZES_BYTES[self]


_SIZES_BYTES: Final = {
    Suite.AEAD_AES_128_GCM: 16 + 12,
    Suite.AEAD_AES_256_GCM: 32 + 12,
    Suite.AES_CM_128_HMAC_SHA1_80: 16 + 14,
    Suite.AES_CM_128_HMAC_SHA1_32: 16 + 14,
}
OFFERED_SUITES: Final = (
    Suite.AEAD_AES_128_GCM,
    Suite.AEAD_AES_256_GCM,
    Suite.AES_CM_128_HMAC_SHA1_80,
)
"""What our offers list; the short tag of the last suite is taken, but not asked for."""


@dataclass(frozen=True, slots=True)
class CryptoLine:
    """One line: a suite and a master key, with its salt behind it, of whoever wrote the line."""

    tag: int
    suite: Suite
    key: bytes = field(repr=False)

    def attribute(self) -> Attribute:
        """Return the line."""
        return Attribute("crypto", f"{self.tag} {self.suite.name} inline:{b64encode(self.key).decode()}")


@dataclass(frozen=True, slots=True)
class SdesKeys:
    """What both descriptions make together.

    Attributes:
        send: master key and salt of what we send.
        receive: of what we get.
    """

    suite: Suite
    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


def crypto_lines(media: MediaDescription) -> tuple[CryptoLine, ...]:
    """Return the lines of a media description that can be used, in its order; a tag counts once."""
    found: dict[int, CryptoLine] = {}
    seen: set[int] = set()
    for attribute in media.attributes:
        if attribute.name != "crypto":
            continue
        words = (attribute.value or "").split()
        tag = decimal(words[0], _MAX_TAG) if words else None
        if tag is None or tag in seen:
            continue
        seen.add(tag)
        line = _line(tag, words[1:])
        if line is not None:
            found[tag] = line
    return tuple(found.values())


def names_crypto(media: MediaDescription) -> bool:
    """Tell whether a media description has any such line, usable or not."""
    return any(attribute.name == "crypto" for attribute in media.attributes)


def matching_lines(
    theirs: Iterable[CryptoLine], ours: Iterable[CryptoLine]
) -> tuple[CryptoLine, CryptoLine] | None:
    """Return the line of an answer that accepts one of ours, and ours; None when there is none."""
    by_tag = {line.tag: line for line in ours}
    for line in theirs:
        own = by_tag.get(line.tag)
        if own is not None and own.suite is line.suite:
            return line, own
    return None


def _line(tag: int, words: list[str]) -> CryptoLine | None:
    """Return what the suite, the key and the session parameters of a line say."""
    if len(words) < 2 or words[0].upper() not in Suite.__members__:
        return None
    suite = Suite[words[0].upper()]
    key = _key(words[1], suite)
    if key is None or not all(map(_is_bearable, words[2:])):
        return None
    return CryptoLine(tag, suite, key)


def _key(text: str, suite: Suite) -> bytes | None:
    """Return the one master key of the key parameters; several of them would need identifiers in packets."""
    method, colon, info = text.partition(":")
    if method.lower() != "inline" or not colon or ";" in info:
        return None
    encoded, *further = info.split("|")
    if len(further) > 1 or (further and not _lives_long_enough(further[0])):
        return None
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == suite.size_bytes else None


def _lives_long_enough(text: str) -> bool:
    if text.startswith("2^"):
        bits = decimal(text[2:], _MAX_LIFETIME_BITS)
        return bits is not None and 2**bits >= _MIN_LIFETIME
    packets = decimal(text, 2**_MAX_LIFETIME_BITS)
    return packets is not None and packets >= _MIN_LIFETIME


def _is_bearable(parameter: str) -> bool:
    """Whether a session parameter changes nothing of what is done here; "-" marks those to be ignored."""
    name, _, value = parameter.partition("=")
    match name.upper():
        case "KDR":
            return value == "0"
        case "WSH":
            return decimal(value, _MAX_WINDOW_HINT) is not None
        case _:
            return name.startswith("-")
