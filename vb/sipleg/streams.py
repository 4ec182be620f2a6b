"""The streams of a SIP leg as their protection sees them: audio in the plane, and text beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypedDict

from vb.ids import IdSource
from vb.mixer.packets import PortPacket, PortPackets
from vb.mixer.port import RtpPort
from vb.mixer.srtp_transform import SrtpTransform
from vb.mixer.transform import Shut
from vb.rtp.packet import PacketKind
from vb.rtp.tasks import RtpEndpoint, TextStream
from vb.sipleg.srtp import SrtpFigures, StreamSecurity
from vb.webrtc.dtls import DtlsContext
from vb.webrtc.srtp import TRAILER_BYTES, Srtp
from vb.webrtc.stun import Address

Protection = Srtp | Literal["shut"] | None


class SecurityArgs(TypedDict):
    """What all streams of a leg have in common.

    Attributes:
        host: address at which the far end reaches them.
        context: the server's certificate.
        ids: source of credentials.
        figures: of all legs.
    """

    host: str
    context: DtlsContext
    ids: IdSource
    figures: SrtpFigures


class _AudioStream:
    """Audio in the plane."""

    def __init__(self, endpoint: RtpEndpoint, port: RtpPort) -> None:
        self.packets = port.packets
        self.on_secured: Callable[[], None] = _nothing
        self._endpoint = endpoint
        self._port = port

    def send(self, data: bytes, destination: Address) -> None:
        self._endpoint.send_rtp(data, destination)

    def protect(self, srtp: Protection) -> None:
        self._port.transform = Shut() if srtp == "shut" else None if srtp is None else SrtpTransform(srtp)

    def secured(self) -> None:
        self.on_secured()


class PortSecurity(StreamSecurity):
    """The protection of a leg's audio.

    Args:
        endpoint: its sockets.
        port: its place in the plane.
        host: address at which the far end reaches it.
        context: the server's certificate.
        ids: source of credentials.
        figures: of all legs.
    """

    def __init__(
        self,
        endpoint: RtpEndpoint,
        port: RtpPort,
        *,
        host: str,
        context: DtlsContext,
        ids: IdSource,
        figures: SrtpFigures,
    ) -> None:
        self._audio = _AudioStream(endpoint, port)
        super().__init__(self._audio, (host, endpoint.rtp_port), context, ids, figures)

    @property
    def on_secured(self) -> Callable[[], None]:
        """Who is told when there are keys, and an address."""
        return self._audio.on_secured

    @on_secured.setter
    def on_secured(self, value: Callable[[], None]) -> None:
        self._audio.on_secured = value

    def close(self) -> None:
        """Say goodbye, and let go of who was told."""
        super().close()
        self._audio.on_secured = _nothing


class _TextStream:
    """Text on a port pair of its own."""

    def __init__(self, stream: TextStream, on_secured: Callable[[], None]) -> None:
        self.packets = PortPackets()
        self._stream = stream
        self._on_secured = on_secured
        stream.on_other = self._other

    def _other(self, kind: PacketKind, data: bytes, source: Address) -> None:
        self.packets.put(PortPacket(kind, data, source, 0.0))

    def send(self, data: bytes, destination: Address) -> None:
        self._stream.send(data, destination)

    def protect(self, srtp: Protection) -> None:
        self._stream.guard = None if srtp is None else _TextGuard(None if srtp == "shut" else srtp)

    def secured(self) -> None:
        self._on_secured()

    def close(self) -> None:
        """Let go of who was told."""
        self.packets.close()
        self._stream.on_other = None
        self._on_secured = _nothing


class TextSecurity(StreamSecurity):
    """The protection of a leg's text.

    Args:
        stream: the text.
        port: where it is bound.
        host: address at which the far end reaches it.
        context: the server's certificate.
        ids: source of credentials.
        figures: of all legs.
        on_secured: told when there are keys, and an address.
    """

    def __init__(
        self,
        stream: TextStream,
        port: int,
        *,
        host: str,
        context: DtlsContext,
        ids: IdSource,
        figures: SrtpFigures,
        on_secured: Callable[[], None],
    ) -> None:
        self._text = _TextStream(stream, on_secured)
        super().__init__(self._text, (host, port), context, ids, figures)

    def close(self) -> None:
        """Say goodbye, and let go of who was told."""
        super().close()
        self._text.close()


class _TextGuard:
    """SRTP on single packets; without it nothing passes."""

    def __init__(self, srtp: Srtp | None) -> None:
        self._srtp = srtp

    def protect(self, packet: bytes) -> bytes | None:
        if self._srtp is None:
            return None
        room = bytearray(packet) + bytes(TRAILER_BYTES)
        return bytes(room[: self._srtp.protect(memoryview(room), len(packet))]) or None

    def unprotect(self, packet: bytes) -> bytes | None:
        if self._srtp is None:
            return None
        room = bytearray(packet)
        return bytes(room[: self._srtp.unprotect(memoryview(room), len(packet))]) or None


def _nothing() -> None:
    """Tell nobody."""
