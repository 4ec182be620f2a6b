"""The media of a WebRTC leg: its socket, its place in the plane, and its SRTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from vb.engine import Engine
from vb.errors import Unavailable
from vb.ids import IdSource
from vb.mixer.columns import PlaneFull
from vb.mixer.port import RtpPort
from vb.mixer.srtp_transform import SrtpTransform
from vb.rtp.ports import PortsExhausted
from vb.rtp.tasks import KeptService, RtpEndpoint, RtpKeeper, RtpService, RtpTiming, bind_endpoint
from vb.sdp.negotiate import Agreed
from vb.sdp.stream import MediaAddress
from vb.webrtc.dtls import SrtpKeys
from vb.webrtc.srtp import Srtp
from vb.webrtc.stun import Address


class RtcMedia:
    """What a WebRTC leg has of RTP.

    Args:
        endpoint: the bound sockets, of which RTP, RTCP, STUN and DTLS share the first.
        port: its attachment to the plane.
        keeper: serves its RTCP and digits.
        ids: source of random RTCP intervals.
        cname: our name in RTCP.
    """

    def __init__(
        self, endpoint: RtpEndpoint, port: RtpPort, keeper: RtpKeeper, *, ids: IdSource, cname: str
    ) -> None:
        self.endpoint = endpoint
        self.port = port
        self.srtp: Srtp | None = None
        self._keeper = keeper
        self._kept: KeptService | None = None
        self._ids = ids
        self._cname = cname
        self._agreed: Agreed | None = None
        self._remote: Address | None = None

    def send(self, data: bytes, destination: Address) -> None:
        """Send a datagram that is not the plane's."""
        self.endpoint.send_rtp(data, destination)

    def secure(self, keys: SrtpKeys) -> None:
        """Take the keys: from now on nothing else is understood, and nothing leaves unprotected."""
        self.srtp = Srtp(keys)
        self.port.transform = SrtpTransform(self.srtp)

    def agree(self, agreed: Agreed, audio_level_id: int | None) -> None:
        """Follow a description: codecs, payload types and direction, and where packets tell their level."""
        self._agreed = agreed
        self.port.audio_level_id = audio_level_id
        self._follow()

    def aim(self, remote: Address) -> None:
        """Send to an address that the peer has proved to be its own."""
        self._remote = remote
        self._follow()

    def _follow(self) -> None:
        if self._agreed is None or self._remote is None or self.srtp is None:
            return
        remote = MediaAddress(*self._remote)
        self.port.configure(replace(self._agreed, remote_rtp=remote, remote_rtcp=remote))
        self.port.sending = True

    def serve(self, on_digit: Callable[[str, float], None], on_fault: Callable[[Exception], None]) -> None:
        """Serve RTCP and digits until `close`, without waiting.

        Args:
            on_digit: told each digit once, and for how many seconds its key was down.
            on_fault: called with a fault, after which nothing is served.
        """
        service = RtpService(
            self.endpoint,
            self.port,
            cname=self._cname,
            ids=self._ids,
            on_digit=on_digit,
            timing=RtpTiming(timeout_s=0.0),
        )
        self._kept = self._keeper.serve(service, on_silence=_nothing, on_fault=on_fault)

    def close(self) -> None:
        """Leave the plane: no packet goes out from now on, as DTLS has said goodbye or the peer is gone."""
        if self._kept is not None:
            self._kept.stop()
            self._kept = None  # it knows the leg
        self.port.close()


def _nothing() -> None:
    """The peer's consent, not its silence, ends the leg."""


@contextmanager
def open_media(engine: Engine, keeper: RtpKeeper, host: str, *, ssrc: int, cname: str) -> Iterator[RtcMedia]:
    """Hold sockets and a place in the plane inside the block.

    Args:
        engine: the server.
        keeper: serves its RTCP and digits.
        host: address to bind.
        ssrc: of what we send.
        cname: our name in RTCP.

    Raises:
        Unavailable: nothing is left.
    """
    try:
        endpoint = bind_endpoint(engine.ports, host)
    except (PortsExhausted, OSError) as exc:
        raise Unavailable(f"no RTP ports: {exc}") from None
    try:
        try:
            port = engine.plane.open_port(endpoint)
        except PlaneFull as exc:
            raise Unavailable(str(exc)) from None
        port.ssrc = ssrc
        port.authenticated = True
        media = RtcMedia(endpoint, port, keeper, ids=engine.ids, cname=cname)
        try:
            yield media
        finally:
            media.close()
    finally:
        endpoint.close()
        engine.metrics.unsent(endpoint.send_errors)
