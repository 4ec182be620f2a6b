"""What a peer's description says of any RTP media line: where it is sent to, and in which direction.

Spec: RFC 8866 §5.7, RFC 3264 §5.1, RFC 3605.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from vb.sdp.direction import DIRECTIONS, Direction
from vb.sdp.parser import decimal
from vb.sdp.session import Connection, MediaDescription, SessionDescription

PLAIN_PROFILES: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
"""Transports we answer; secured ones are refused rather than answered in the clear."""

_MAX_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class MediaAddress:
    """An IP literal and a UDP port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PeerStream:
    """Where a media line of a peer leads.

    Attributes:
        rtp: where it takes RTP, or None when the peer gave no address that can be sent to.
        rtcp: where it takes RTCP unless multiplexed.
        rtcp_mux: it offers or accepts RTCP on the RTP port.
        direction: the peer's direction; an unspecified address counts as "does not receive".
    """

    rtp: MediaAddress | None
    rtcp: MediaAddress | None
    rtcp_mux: bool
    direction: Direction


def read_stream(description: SessionDescription, media: MediaDescription) -> PeerStream | None:
    """Reads a media line together with the session lines that apply to it; None when it has no `c=` line."""
    connection = media.connection or description.connection
    if connection is None:
        return None
    host = _host(connection)
    direction = read_direction(description, media)
    if _is_unspecified(connection):
        direction = "sendonly" if direction in ("sendrecv", "sendonly") else "inactive"
    return PeerStream(
        rtp=None if host is None else MediaAddress(host, media.port),
        rtcp=_rtcp_address(media, host),
        rtcp_mux=media.attribute("rtcp-mux") is not None,
        direction=direction,
    )


def read_direction(description: SessionDescription, media: MediaDescription) -> Direction:
    """Returns the direction that the line, else the session, states."""
    for attributes in (media.attributes, description.attributes):
        for attribute in attributes:
            for direction in DIRECTIONS:
                if attribute.name == direction:
                    return direction
    return "sendrecv"


def _host(connection: Connection) -> str | None:
    """Returns the address as a literal that one peer can be reached at, or None."""
    return _literal(connection.net_type, connection.address_type, connection.address)


def _literal(net_type: str, address_type: str, text: str) -> str | None:
    text = text.partition("/")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    unreachable = address.is_unspecified or address.is_multicast or text == "255.255.255.255"
    named = (net_type.upper(), address_type.upper()) == ("IN", f"IP{address.version}")
    if unreachable or not named or "%" in text:
        return None
    return str(address)


def _is_unspecified(connection: Connection) -> bool:
    """Tells whether the address is 0.0.0.0 or ::, the older way to ask for silence (RFC 3264 §8.4)."""
    try:
        return ip_address(connection.address.partition("/")[0]).is_unspecified
    except ValueError:
        return False


def _rtcp_address(media: MediaDescription, host: str | None) -> MediaAddress | None:
    """Returns where the peer takes RTCP: its `a=rtcp` (RFC 3605), else the port after RTP."""
    port: int | None = media.port + 1
    words = (media.attribute("rtcp") or "").split()
    if words and decimal(words[0], _MAX_PORT):
        port = decimal(words[0], _MAX_PORT)
        if len(words) == 4:
            host = _literal(words[1], words[2], words[3])
    if host is None or port is None or port > _MAX_PORT:
        return None
    return MediaAddress(host, port)
