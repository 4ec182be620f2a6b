"""The media of one SIP leg: its sockets, its place in the plane, and its offer/answer state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import trio

from vb.codecs.base import Codec
from vb.events.leg import QualityInfo
from vb.ids import IdSource
from vb.mixer.port import RtpPort
from vb.rtp.stats import Quality, quality
from vb.rtp.tasks import KeptService, RtpEndpoint, RtpKeeper, RtpService, RtpTiming
from vb.sdp.negotiate import Agreed, Choice
from vb.sdp.offer_answer import OfferAnswer
from vb.sdp.parser import as_description
from vb.sdp.session import SessionDescription
from vb.sdp.stream import MediaAddress
from vb.sipleg.media_names import Lookup, look_up_names
from vb.sipleg.streams import PortSecurity
from vb.sipleg.text import SipText


class SipMedia:
    """What a SIP leg has of RTP.

    Args:
        endpoint: the bound port pair.
        port: its attachment to the plane.
        negotiation: offers and answers for it.
        text: its real-time text.
        security: its protection, and how its far end is found.
        ids: source of random RTCP intervals and names.
        timeout_s: silence of the far end after which an answered call ends; 0 = never.
        lookup: finds the addresses of the names that the far end writes in place of some.
        keeper: serves the RTP.
    """

    def __init__(
        self,
        endpoint: RtpEndpoint,
        port: RtpPort,
        negotiation: OfferAnswer,
        text: SipText,
        security: PortSecurity,
        *,
        ids: IdSource,
        timeout_s: float,
        lookup: Lookup,
        keeper: RtpKeeper,
    ) -> None:
        self.endpoint = endpoint
        self.port = port
        self.negotiation = negotiation
        self.text = text
        self.security = security
        self._agreed: Agreed | None = None
        self._ids = ids
        self._timing = RtpTiming(timeout_s=timeout_s)
        self._quality: Quality | None = None
        self._lookup = lookup
        self._keeper = keeper
        self._served: tuple[RtpService, KeptService] | None = None

    async def look_up(self, sdp: bytes | None, gone: Callable[[], Awaitable[None]]) -> None:
        """Find out what a description's host names stand for, before it is acted on; see `look_up_names`."""
        if sdp is not None:
            negotiation = self.negotiation
            negotiation.network = await look_up_names(sdp, negotiation.network, self._lookup, gone)

    def receive_offer(
        self,
        offer: bytes | SessionDescription,
        *,
        codec: str | None = None,
        known: Choice | None = None,
    ) -> bytes:
        """Return our answer to the far end's offer; see `OfferAnswer.receive_offer`."""
        description = as_description(offer)
        self.text.open_if_offered(description)
        return self.negotiation.receive_offer(description, codec=codec, known=known)

    def offer(self, codecs: Sequence[Codec] | None = None) -> bytes:
        """Return our offer, and take what it lists from now on; see `OfferAnswer.offer`."""
        sdp = self.negotiation.offer(codecs=codecs)
        self.expect()
        return sdp

    def expect(self) -> None:
        """Take what our offer lists from now on, as its answer may come later than the audio.

        Where the offer has keys, nobody can tell before the answer what is protected, and with what.
        """
        if self.negotiation.agreed is not None or not self.negotiation.open_keys:
            self.port.expect(self.negotiation.receivable)
        elif self.negotiation.open_keys.dtls is not None:
            self.security.expect()
            self.text.expect()

    def follow(self, agreed: Agreed, transport: str) -> None:
        """Let the media follow what was agreed: keys, codec, address, direction, packet time and text.

        Args:
            agreed: what was agreed.
            transport: of the signalling.
        """
        self._agreed = agreed
        self.security.follow(agreed.srtp, agreed.ice, agreed.remote_rtp, transport)
        if self.security.needed:
            self.security.on_secured = self._go_on
        self._go_on()
        self.text.follow(agreed.text, transport)

    def _go_on(self) -> None:
        """Follow what was agreed, as soon as there are keys and there is an address for it."""
        agreed, security, port = self._agreed, self.security, self.port
        if agreed is None or port.closed:
            return
        if not security.ready:
            port.sending = False
            return
        port.authenticated = security.keying == "dtls"
        port.configure(_addressed(agreed, security.remote, reports=security.keying != "dtls"))
        port.sending = True

    def answered(self) -> None:
        """The call is answered: from now on a silent far end ends it."""
        self.port.supervised = True
        if self._served is not None:
            self._served[1].look()

    def serve(
        self,
        on_digit: Callable[[str, float], None],
        *,
        on_silence: Callable[[], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        """Serve RTCP and digits until `close`, without waiting.

        Args:
            on_digit: told each digit once, and for how many seconds its key was down.
            on_silence: called when the far end of an answered call was silent for too long.
            on_fault: called with a fault, after which nothing is served.
        """
        service = RtpService(
            self.endpoint,
            self.port,
            cname=self._ids.token(8),
            ids=self._ids,
            on_digit=on_digit,
            timing=self._timing,
        )
        self._served = service, self._keeper.serve(service, on_silence=on_silence, on_fault=on_fault)

    def quality(self) -> Quality | None:
        """Return the quality of what was received, also after `close`."""
        return self._quality or self._measured()

    def quality_info(self) -> QualityInfo | None:
        """Return the quality as the last event of a leg tells it; None below two packets."""
        found = self.quality()
        if found is None or found.rtp_packets_received < 2:
            return None
        return QualityInfo(
            mos_score=found.mos_score,
            rtp_packets_received=found.rtp_packets_received,
            rtp_packets_lost=found.rtp_packets_lost,
            rtp_jitter_ms=found.rtp_jitter_ms,
            srtp=self.security.keying,
        )

    def _measured(self) -> Quality | None:
        """Return the quality so far; before an answer there is nobody whose it could be."""
        return None if self.port.agreed is None else quality(self.port.reception())

    def close(self) -> None:
        """Say goodbye and leave the plane: no packet goes out from now on."""
        self._agreed = None
        if not self.port.closed:
            self._quality = self._measured()
            if self._served is not None:
                service, kept = self._served
                self._served = None  # it knows the leg
                kept.stop()
                service.goodbye(trio.current_time())
            self.security.close()
            self.text.close()
            self.port.close()


def _addressed(agreed: Agreed, remote: MediaAddress | None, *, reports: bool) -> Agreed:
    """Return what was agreed with the address that the far end has proved to have.

    Args:
        agreed: what was agreed.
        remote: that address, None where its description is believed.
        reports: whether RTCP may go to a port of its own; a handshake there is not made.
    """
    if not reports and not agreed.rtcp_mux:
        agreed = replace(agreed, rtcp_use="never")
    if remote is None:
        return agreed
    return replace(agreed, remote_rtp=remote, remote_rtcp=remote if agreed.rtcp_mux else agreed.remote_rtcp)
