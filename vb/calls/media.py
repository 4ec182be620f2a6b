"""Opening the media of a SIP leg: a port pair, its place in the plane, and its offers and answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from vb.codecs.base import Codec
from vb.engine import Engine
from vb.legs.sip_media import SipMedia
from vb.mixer.columns import PlaneFull
from vb.rtp.ports import PortsExhausted
from vb.rtp.tasks import RtpEndpoint, bind_endpoint
from vb.sdp.offer_answer import OfferAnswer


class MediaUnavailable(Exception):
    """There is no port pair, or no place in the plane, for another leg."""


@asynccontextmanager
async def open_media(engine: Engine, local_host: str, codecs: tuple[Codec, ...]) -> AsyncIterator[SipMedia]:
    """Hold a port pair and a place in the plane inside the block.

    Args:
        engine: the server.
        local_host: address that the far end sends to.
        codecs: in order of preference.

    Raises:
        MediaUnavailable: nothing is left.
    """
    with ExitStack() as endpoints:
        endpoint = _open_endpoint(engine, local_host, endpoints)
        try:
            port = engine.plane.open_port(endpoint)
        except PlaneFull as exc:
            raise MediaUnavailable(str(exc)) from None
        negotiation = OfferAnswer(
            address=local_host, rtp_port=endpoint.rtp_port, codecs=codecs, session_id=engine.ids.u32() >> 1
        )
        timeout_s = engine.config.rtp.timeout_s
        media = SipMedia(endpoint, port, negotiation, ids=engine.ids, timeout_s=timeout_s)
        try:
            yield media
        finally:
            media.close()


@contextmanager
def _open_endpoint(engine: Engine, local_host: str) -> Iterator[RtpEndpoint]:
    sip = engine.config.sip
    bind = (sip.listen_ipv6 or sip.bind_ipv6) if ":" in local_host else (sip.listen_ip or sip.bind_ip)
    try:
        endpoint = bind_endpoint(engine.ports, bind)
    except (PortsExhausted, OSError) as exc:
        raise MediaUnavailable(f"no RTP ports: {exc}") from None
    try:
        yield endpoint
    finally:
        endpoint.close()
