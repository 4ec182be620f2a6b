"""Opening the media of a SIP leg: a port pair, its place in the plane, and its offers and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vb.choices import SrtpKeying, SrtpPolicy
from vb.codecs.base import Codec
from vb.engine import Engine
from vb.mixer.columns import PlaneFull
from vb.mixer.port import RtpPort
from vb.rtp.ports import PortsExhausted
from vb.rtp.tasks import RtpEndpoint, bind_endpoint
from vb.sdp.offer_answer import OfferAnswer
from vb.sipleg.media import SipMedia
from vb.sipleg.srtp import new_keying
from vb.sipleg.streams import PortSecurity, SecurityArgs, TextSecurity
from vb.sipleg.text import SipText

if TYPE_CHECKING:
    from vb.sipleg.kind import SipLegs


class MediaUnavailable(Exception):
    """There is no port pair, or no place in the plane, for another leg."""


class OpenMedia:
    """Holds a port pair and a place in the plane inside its block, and a port pair for text when it is used.

    Args:
        sip: the kind.
        local_host: address that the far end sends to.
        codecs: in order of preference.
        text: whether our first offer asks for real-time text.
        srtp: whether our first offer asks for SRTP; None as the server is set.
        srtp_keying: which keys it brings; None as the server is set.
    """

    def __init__(
        self,
        sip: SipLegs,
        local_host: str,
        codecs: tuple[Codec, ...],
        *,
        text: bool = False,
        srtp: SrtpPolicy | None = None,
        srtp_keying: SrtpKeying | None = None,
    ) -> None:
        self._sip = sip
        self._local_host = local_host
        self._codecs = codecs
        self._text = text
        self._srtp = srtp, srtp_keying
        self._media: SipMedia | None = None
        self._endpoint: RtpEndpoint | None = None
        self._port: RtpPort | None = None
        self._text_endpoints: list[RtpEndpoint] = []

    def __enter__(self) -> SipMedia:
        """Open it.

        Raises:
            MediaUnavailable: nothing is left.
        """
        try:
            self._media = media = self._open()
            if self._text:
                _open_text(media.text)
        except BaseException:
            self._close()
            raise
        return media

    def __exit__(self, *problem: object) -> None:
        """Close all of it."""
        self._close()

    def _open(self) -> SipMedia:
        sip, engine, local_host = self._sip, self._sip.engine, self._local_host
        try:
            self._endpoint = endpoint = self._bind()
            self._port = port = engine.plane.open_port(endpoint)
        except (PortsExhausted, OSError) as exc:
            raise MediaUnavailable(f"no RTP ports: {exc}") from None
        except PlaneFull as exc:
            raise MediaUnavailable(str(exc)) from None
        keying = new_keying(sip, *self._srtp)
        negotiation = OfferAnswer(
            address=local_host,
            rtp_port=endpoint.rtp_port,
            codecs=self._codecs,
            session_id=engine.ids.u32() >> 1,
            keying=keying,
        )
        secured = SecurityArgs(host=local_host, context=engine.dtls, ids=engine.ids, figures=sip.srtp_figures)
        rtp = engine.config.rtp
        security = PortSecurity(endpoint, port, **secured)
        keying.ice = security
        text = SipText(
            negotiation,
            self._bind_text,
            ids=engine.ids,
            secure=lambda stream, at, told: TextSecurity(stream, at, on_secured=told, **secured),
            relearn=rtp.relatch,
        )
        return SipMedia(
            endpoint,
            port,
            negotiation,
            text,
            security,
            ids=engine.ids,
            timeout_s=rtp.timeout_s,
            lookup=sip.endpoint.names,
            keeper=sip.keeper,
        )

    def _bind(self) -> RtpEndpoint:
        engine = self._sip.engine
        return bind_endpoint(engine.ports, _bind_host(engine, self._local_host))

    def _bind_text(self) -> RtpEndpoint:
        endpoint = self._bind()
        self._text_endpoints.append(endpoint)
        self._sip.engine.legs.open_texts += 1
        return endpoint

    def _close(self) -> None:
        engine, media = self._sip.engine, self._media
        try:
            if media is not None:
                media.close()
                engine.metrics.text_lost(media.text.losses)
            elif self._port is not None:
                self._port.close()
        finally:
            for endpoint in self._text_endpoints:
                engine.legs.text_over()
                self._give_back(endpoint)
            if self._endpoint is not None:
                self._give_back(self._endpoint)

    def _give_back(self, endpoint: RtpEndpoint) -> None:
        endpoint.close()
        if endpoint.send_errors:
            self._sip.engine.metrics.unsent(endpoint.send_errors)


def _open_text(text: SipText) -> None:
    try:
        text.open()
    except (PortsExhausted, OSError) as exc:
        raise MediaUnavailable(f"no RTP ports for text: {exc}") from None


def _bind_host(engine: Engine, local_host: str) -> str:
    sip = engine.config.sip
    return (sip.listen_ipv6 or sip.bind_ipv6) if ":" in local_host else (sip.listen_ip or sip.bind_ip)
