"""ICE candidates: their values, their text, their priorities.

Spec: RFC 8839 §5.1, RFC 8445 §5.1, RFC 6544 §4.5.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, cast, get_args

from vb.sdp.parser import decimal
from vb.webrtc.stun import Address

CandidateType = Literal["host", "srflx", "prflx", "relay"]

MAX_TEXT: Final = 512
_TYPES: Final = get_args(CandidateType)
_PREFERENCES: Final[dict[CandidateType, int]] = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}
_MAX_UINT32: Final = 2**32 - 1
_MAX_PORT: Final = 65_535
_MAX_COMPONENT: Final = 256


class CandidateError(Exception):
    """The text is no candidate."""


class UnknownCandidateType(CandidateError):
    """It is a candidate of a type that came after those that are known here."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate of either side.

    Attributes:
        host: an IP literal, or a name such as the `.local` ones of browsers.
        related: base of a reflexive candidate, or what a relayed one was mapped from.
        username_fragment: generation that it belongs to, where the text says so.
    """

    foundation: str
    component: int
    transport: str
    priority: int
    host: str
    port: int
    type: CandidateType
    related: Address | None = None
    username_fragment: str | None = None

    @property
    def address(self) -> Address:
        """Host and port."""
        return self.host, self.port

    @property
    def is_usable(self) -> bool:
        """True when checks can be sent to it: our component, UDP, an IP literal that is one host's."""
        if self.component != 1 or self.transport.lower() != "udp" or not self.port:
            return False
        try:
            address = ip_address(self.host)
        except ValueError:
            return False
        broadcast = self.host == "255.255.255.255"
        return not (address.is_unspecified or address.is_multicast or broadcast) and "%" not in self.host

    def to_text(self) -> str:
        """Returns the value of its `a=candidate` line, which begins with `candidate:` in scripts only."""
        words = [self.foundation, str(self.component), self.transport, str(self.priority)]
        words += [self.host, str(self.port), "typ", self.type]
        if self.related is not None:
            words += ["raddr", self.related[0], "rport", str(self.related[1])]
        if self.username_fragment is not None:
            words += ["ufrag", self.username_fragment]
        return " ".join(words)


def parse_candidate(text: str) -> Candidate:
    """Reads a candidate, with or without `a=` and `candidate:` before it; extensions are passed over.

    Raises:
        UnknownCandidateType: it is of a further type, which the grammar allows for.
        CandidateError: it is none.
    """
    text = text.strip().removeprefix("a=").removeprefix("candidate:")
    words = text.split() if len(text) <= MAX_TEXT else []
    if len(words) < 8 or words[6].lower() != "typ":
        raise CandidateError(
            "a candidate needs foundation, component, transport, priority, address, port, type"
        )
    foundation, component, transport, priority, host, port, _, kind = words[:8]
    numbers = (decimal(component, _MAX_COMPONENT), decimal(priority, _MAX_UINT32), decimal(port, _MAX_PORT))
    if None in numbers or len(foundation) > 32:
        raise CandidateError("a candidate has a number out of range")
    if kind.lower() not in _TYPES:
        raise UnknownCandidateType(f"a candidate is of the unknown type {kind[:16]!r}")
    extensions = dict(zip(words[8::2], words[9::2], strict=False))
    related_port = decimal(extensions.get("rport", ""), _MAX_PORT)
    related = None
    if "raddr" in extensions and related_port is not None:
        related = extensions["raddr"], related_port
    return Candidate(
        foundation=foundation,
        component=numbers[0] or 0,
        transport=transport,
        priority=numbers[1] or 0,
        host=_canonical(host),
        port=numbers[2] or 0,
        type=cast("CandidateType", kind.lower()),
        related=related,
        username_fragment=extensions.get("ufrag"),
    )


def local_candidate(
    kind: CandidateType, address: Address, *, related: Address | None = None, preference: int = 65_535
) -> Candidate:
    """Returns a candidate of our own, for the one component that RTP and RTCP share.

    Args:
        preference: among candidates of one type, higher first (0 to 65535).
        related: its base, for a type that is not "host".
    """
    host = _canonical(address[0])
    base = related[0] if related is not None else host
    return Candidate(
        foundation=str(zlib.crc32(f"{kind} {base}".encode())),
        component=1,
        transport="udp",
        priority=candidate_priority(kind, preference),
        host=host,
        port=address[1],
        type=kind,
        related=related,
    )


def candidate_priority(kind: CandidateType, preference: int = 65_535) -> int:
    """Returns the priority of a candidate of component 1.

    Spec: RFC 8445 §5.1.2.1.
    """
    return _PREFERENCES[kind] << 24 | preference << 8 | 255


def _canonical(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return host
