"""Opening the media of a SIP leg: a port pair, its place in the plane, and its offers and answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from vb.choices import SrtpKeying, SrtpPolicy
from vb.codecs.base import Codec
from vb.engine import Engine
from vb.mixer.columns import PlaneFull
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


@contextmanager
def open_media(
    sip: SipLegs,
    local_host: str,
    codecs: tuple[Codec, ...],
    *,
    text: bool = False,
    srtp: SrtpPolicy | None = None,
    srtp_keying: SrtpKeying | None = None,
) -> Iterator[SipMedia]:
    """Hold a port pair and a place in the plane inside the block, and a port pair for text when it is used.

    Args:
        sip: the kind.
        local_host: address that the far end sends to.
        codecs: in order of preference.
        text: whether our first offer asks for real-time text.
        srtp: whether our first offer asks for SRTP; None as the server is set.
        srtp_keying: which keys it brings; None as the server is set.

    Raises:
        MediaUnavailable: nothing is left.
    """
    engine = sip.engine
    with ExitStack() as endpoints:

        def bind() -> RtpEndpoint:
            endpoint = bind_endpoint(engine.ports, _bind_host(engine, local_host))
            endpoints.callback(endpoint.close)
            endpoints.callback(engine.metrics.unsent, endpoint.send_errors)
            return endpoint

        def bind_text() -> RtpEndpoint:
            endpoint = bind()
            engine.legs.open_texts += 1
            endpoints.callback(engine.legs.text_over)
            return endpoint

        try:
            endpoint = bind()
            port = engine.plane.open_port(endpoint)
        except (PortsExhausted, OSError) as exc:
            raise MediaUnavailable(f"no RTP ports: {exc}") from None
        except PlaneFull as exc:
            raise MediaUnavailable(str(exc)) from None
        keying = new_keying(sip, srtp, srtp_keying)
        negotiation = OfferAnswer(
            address=local_host,
            rtp_port=endpoint.rtp_port,
            codecs=codecs,
            session_id=engine.ids.u32() >> 1,
            keying=keying,
        )
        secured = SecurityArgs(host=local_host, context=engine.dtls, ids=engine.ids, figures=sip.srtp_figures)
        rtp = engine.config.rtp
        security = PortSecurity(endpoint, port, **secured)
        keying.ice = security
        sip_text = SipText(
            negotiation,
            bind_text,
            ids=engine.ids,
            secure=lambda stream, at, told: TextSecurity(stream, at, on_secured=told, **secured),
            relearn=rtp.relatch,
        )
        media = SipMedia(
            endpoint,
            port,
            negotiation,
            sip_text,
            security,
            ids=engine.ids,
            timeout_s=rtp.timeout_s,
            lookup=sip.endpoint.names,
            keeper=sip.keeper,
        )
        try:
            if text:
                _open_text(sip_text)
            yield media
        finally:
            media.close()
            engine.metrics.text_lost(sip_text.losses)


def _open_text(text: SipText) -> None:
    try:
        text.open()
    except (PortsExhausted, OSError) as exc:
        raise MediaUnavailable(f"no RTP ports for text: {exc}") from None


def _bind_host(engine: Engine, local_host: str) -> str:
    sip = engine.config.sip
    return (sip.listen_ipv6 or sip.bind_ipv6) if ":" in local_host else (sip.listen_ip or sip.bind_ip)
