"""What a peer's description says of any RTP media line: where it is sent to, and in which direction.

Spec: RFC 8866 §5.7, RFC 3264 §5.1, RFC 3605.
"""

from typing import Final, NamedTuple

from vb.sdp.address import ANYWHERE, Network, host_name, is_unspecified
from vb.sdp.direction import DIRECTIONS, Direction
from vb.sdp.ice import PeerIce, read_ice
from vb.sdp.parser import decimal
from vb.sdp.session import Connection, MediaDescription, SessionDescription

PLAIN_PROFILES: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
"""Transports of audio and text in the clear."""
SDES_PROFILES: Final = frozenset({"RTP/SAVP", "RTP/SAVPF"})
"""Transports whose keys stand in the description."""
DTLS_PROFILES: Final = frozenset({"UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})
"""Transports whose keys a handshake makes."""

_MAX_PORT: Final = 65_535
_DIRECTIONS: Final[dict[str, Direction]] = {name: name for name in DIRECTIONS}


class MediaAddress(NamedTuple):
    """An IP literal and a UDP port."""

    host: str
    port: int


class PeerStream(NamedTuple):
    """Where a media line of a peer leads.

    Attributes:
        rtp: where it takes RTP, or None when the peer gave no address that can be sent to.
        rtcp: where it takes RTCP unless multiplexed.
        rtcp_mux: it offers or accepts RTCP on the RTP port.
        direction: the peer's direction; an unspecified address counts as "does not receive".
        host_name: what stands in place of its address, None for a literal.
        ice: what it says of ICE; then an unspecified address is one that is still to be found.
    """

    rtp: MediaAddress | None
    rtcp: MediaAddress | None
    rtcp_mux: bool
    direction: Direction
    host_name: str | None = None
    ice: PeerIce | None = None


def read_stream(
    description: SessionDescription, media: MediaDescription, network: Network = ANYWHERE
) -> PeerStream | None:
    """Read a media line together with the session lines that apply to it; None when it has no `c=` line."""
    connection = media.connection or description.connection
    if connection is None:
        return None
    host = network.host(connection)
    direction = read_direction(description, media)
    ice = read_ice(description, media)
    if host is None and ice is None and is_unspecified(connection):
        direction = "sendonly" if direction in ("sendrecv", "sendonly") else "inactive"
    return PeerStream(
        rtp=None if host is None else MediaAddress(host, media.port),
        rtcp=_rtcp_address(media, host, network),
        rtcp_mux="rtcp-mux" in media.values,
        direction=direction,
        host_name=host_name(connection),
        ice=ice,
    )


def read_direction(description: SessionDescription, media: MediaDescription) -> Direction:
    """Return the direction that the line, else the session, states."""
    for attributes in (media.attributes, description.attributes):
        for name, _ in attributes:
            direction = _DIRECTIONS.get(name.lower())
            if direction is not None:
                return direction
    return "sendrecv"


def _rtcp_address(media: MediaDescription, host: str | None, network: Network) -> MediaAddress | None:
    """Return where the peer takes RTCP: its `a=rtcp` (RFC 3605), else the port after RTP."""
    port: int | None = media.port + 1
    words = media.values["rtcp"].split() if "rtcp" in media.values else []
    if words and decimal(words[0], _MAX_PORT):
        port = decimal(words[0], _MAX_PORT)
        if len(words) == 4:
            host = network.host(Connection(words[2], words[3], words[1]))
    if host is None or port is None or port > _MAX_PORT:
        return None
    return MediaAddress(host, port)
